//! No bytes from the network make a decoder panic, and what is written is read back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "golden/load.rs"]
mod load;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use load::{Capture, all_messages, servers, text, verifier};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use server_core::trust::ecdh::{NodeSecret, decrypt_pem};
use server_core::trust::jwt::{self, JwtKey, NamedKey, Rules};
use server_core::trust::{CallerRules, CertificateSigner, KeyPair, Verifier, chain, tls};
use server_core::wire::rpc::{RpcReply, RpcRequest, StatusCode};
use server_core::wire::{
    CompoundExpr, FactFilter, Federation, Filter, Headers, Limits, Operator, Protocol, Reply,
    Request, decode_reply, decode_request, encode_reply, encode_request,
};
use server_core::words::{CallerId, Identity, UnixTime, subject};

static CAPTURES: LazyLock<Vec<Capture>> = LazyLock::new(|| {
    let all = all_messages().into_iter();
    all.filter(|capture| capture.is_request() || capture.is_reply())
        .collect()
});
static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| verifier("keys/ca.pem", CallerRules::default()));
static ALICE: LazyLock<CertificateSigner> = LazyLock::new(|| {
    CertificateSigner::from_pem(
        &text("keys/alice.mcollective.pem"),
        &text("keys/alice.mcollective.key"),
    )
    .unwrap()
});
static JWT_KEYS: LazyLock<Vec<NamedKey>> = LazyLock::new(|| {
    [
        "provisioning/keys/jwt-signer.pem",
        "provisioning/keys/issuer.public",
    ]
    .map(|file| NamedKey {
        name: file.into(),
        key: JwtKey::parse(&text(file)).unwrap(),
    })
    .to_vec()
});

/// Gives bytes to everything that reads from the network.
fn read_everywhere(bytes: &[u8]) {
    let limits = Limits::default();
    let payload = Bytes::copy_from_slice(bytes);
    if let Ok(envelope) = decode_request(bytes, &limits) {
        let _ = envelope.body.request();
    }
    let _ = decode_reply(bytes, &limits);
    for verifier in [&*VERIFIER, &Verifier::insecure()] {
        match verifier.verify(&payload, &limits) {
            Ok(verified) => {
                for server in servers() {
                    let _ = verified.matches(&server);
                }
            }
            Err(rejected) => assert!(rejected.code().contains('.'), "{rejected}"),
        }
    }
    let _ = RpcRequest::parse(bytes, &limits);
    let _ = RpcReply::parse(bytes, &limits);
}

fn read_everywhere_as_text(text: &str) {
    let _ = Identity::parse(text);
    let _ = CallerId::parse(text);
    let _ = subject::is_publishable(text);
    let _ = text.parse::<FactFilter>();
    let _ = chain::parse_pem_bundle(text);
    let _ = KeyPair::from_pem(text);
    let _ = JwtKey::parse(text);
    let _ = jwt::decode_unverified(text);
    let _ = jwt::verify(
        text,
        &JWT_KEYS,
        &Rules::default(),
        UnixTime::from_secs(1_795_400_000),
    );
    let _ = decrypt_pem(text, &[7; 32]);
    let _ = tls::server_verified(text);
}

/// A transport around a secure layer of any form.
fn wrap(secure: &Value) -> Bytes {
    json!({ "protocol": "choria:transport:1", "data": STANDARD.encode(secure.to_string()), "headers": {} })
        .to_string()
        .into()
}

fn wrap_request(message: &str) -> Bytes {
    wrap(
        &json!({ "protocol": "choria:secure:request:1", "message": message, "signature": "x", "pubcert": "x" }),
    )
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Eighths: their text is exact.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..6)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

fn any_operator() -> impl Strategy<Value = Operator> {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Matches, NotEqual};
    select(vec![
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        Matches,
    ])
}

/// Paths with all characters that mean something in them.
const FACT_PATH: &str = r##"([a-z0-9]|[.#@{}\[\](),:|!*?"\\=<>%~_-]){1,40}|(os|tags|a)(\.|\|)([#@a-z0-9(){}:"=.]){1,20}|.{1,20}"##;

prop_compose! {
    fn any_fact()(fact in FACT_PATH, operator in any_operator(), value in ".{1,20}") -> FactFilter {
        FactFilter { fact, operator, value }
    }
}

prop_compose! {
    fn any_filter()(
        fact in prop::collection::vec(any_fact(), 0..3),
        cf_class in prop::collection::vec(".{0,12}", 0..3),
        agent in prop::collection::vec(".{0,12}", 0..3),
        identity in prop::collection::vec(".{0,12}", 0..3),
        compound in prop::collection::vec(prop::collection::vec(".{0,12}", 0..2), 0..2),
    ) -> Filter {
        let compound = compound
            .into_iter()
            .map(|inner| inner.into_iter().map(|expr| CompoundExpr { expr }).collect())
            .collect();
        Filter { fact, cf_class, agent, identity, compound }
    }
}

prop_compose! {
    fn any_headers()(
        reply_to in prop::option::of(".{1,40}"),
        sender in prop::option::of(".{1,40}"),
        seen_by in prop::collection::vec(any::<[String; 3]>(), 0..4),
        federation in prop::option::of((".{0,32}", ".{0,20}", prop::collection::vec(".{0,20}", 0..3))),
    ) -> Headers {
        let federation = federation
            .map(|(request, reply_to, targets)| Federation { request, reply_to, targets });
        Headers { reply_to, sender, seen_by, federation }
    }
}

prop_compose! {
    fn any_request()(
        id in "[0-9a-f]{32}",
        sender in ".{0,30}",
        collective in ".{1,20}",
        agent in ".{1,20}",
        ttl_secs in 30..u64::MAX,
        secs in any::<i64>(),
        filter in any_filter(),
        // Text in braces is never base64 and so comes out as it went in.
        payload in "\\{.{0,80}\\}",
    ) -> Request {
        Request {
            id, sender, caller: "choria=alice.mcollective".into(), collective, agent, ttl_secs,
            time: UnixTime::from_secs(secs), filter, payload: payload.into(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        read_everywhere(&bytes);
    }

    #[test]
    fn any_text_is_refused_or_read(text in ".{0,200}") {
        read_everywhere(text.as_bytes());
        read_everywhere_as_text(&text);
    }

    #[test]
    fn any_json_in_any_layer_is_refused_or_read(value in any_json()) {
        read_everywhere(value.to_string().as_bytes());
        read_everywhere(&wrap(&value));
        read_everywhere(&wrap_request(&value.to_string()));
    }

    /// A request whose every field but one is right.
    #[test]
    fn any_json_in_any_field_is_refused_or_read(
        pointer in select(vec![
            "/protocol", "/message", "/envelope", "/envelope/requestid", "/envelope/callerid", "/envelope/ttl",
            "/envelope/time", "/envelope/filter", "/envelope/filter/fact", "/envelope/filter/identity",
            "/envelope/filter/compound",
        ]),
        value in any_json(),
    ) {
        let mut message = json!({"protocol": "choria:request:1", "message": "{}", "envelope": {
            "requestid": "0123456789abcdef0123456789abcdef", "senderid": "s", "callerid": "choria=a.mcollective",
            "collective": "c", "agent": "a", "ttl": 60, "time": 1, "filter": {
                "fact": [], "cf_class": [], "agent": [], "identity": [], "compound": []}}});
        *message.pointer_mut(pointer).unwrap() = value;
        read_everywhere(&wrap_request(&message.to_string()));
    }

    #[test]
    fn captured_messages_with_damage_are_refused_or_read(
        capture in any::<Index>(), at in any::<Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = capture.get(&CAPTURES).payload().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        read_everywhere(&bytes);
    }

    /// Damage inside of the signed text: whatever parses must not verify.
    #[test]
    fn a_changed_request_never_verifies(capture in any::<Index>(), at in any::<Index>(), byte in 0x20_u8..0x7f) {
        let requests: Vec<_> = CAPTURES.iter().filter(|c| c.name.starts_with("v1/") && c.is_request()).collect();
        let layers = capture.get(&requests).layers();
        let mut message = layers.message_text.clone().into_bytes();
        let at = at.index(message.len());
        prop_assume!(message[at] != byte && message.is_ascii());
        message[at] = byte;
        let mut secure = layers.secure.clone();
        secure["message"] = String::from_utf8(message).unwrap().into();
        prop_assert!(VERIFIER.verify(&wrap(&secure), &Limits::default()).is_err());
    }

    #[test]
    fn pem_with_damage_is_refused_or_read(at in any::<Index>(), byte in 0x20_u8..0x7f) {
        for file in ["keys/carol.mcollective.pem", "keys/ecdsa.mcollective.key", "keys/alice.mcollective.key"] {
            let mut bytes = text(file).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let damaged = String::from_utf8(bytes).unwrap();
            read_everywhere_as_text(&damaged);
            let secure = json!({ "protocol": "choria:secure:request:1", "signature": "AAAA", "pubcert": damaged,
                "message": CAPTURES[0].layers().message_text });
            read_everywhere(&wrap(&secure));
        }
    }

    #[test]
    fn shared_secrets_need_a_public_key(bytes in prop::collection::vec(any::<u8>(), 0..40), text in ".{0,64}") {
        let secret = NodeSecret::generate().unwrap();
        let _ = secret.shared(&text);
        let encoded: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        prop_assert!(bytes.len() == 32 || secret.shared(&encoded).is_err());
    }

    #[test]
    fn any_filter_judges_any_node_without_panic(filter in any_filter(), facts in any_json()) {
        let facts = facts.to_string();
        for mut server in servers() {
            let _ = filter.matches(&server);
            server.facts = &facts;
            let _ = filter.matches(&server);
        }
    }

    /// Facts are looked up by paths with queries and modifiers, all of which callers may send.
    #[test]
    fn any_fact_filter_judges_any_facts_without_panic(fact in any_fact(), facts in any_json()) {
        let filter = Filter { fact: vec![fact], ..Filter::empty() };
        let facts = facts.to_string();
        for mut server in servers() {
            let _ = filter.matches(&server);
            server.facts = &facts;
            let _ = filter.matches(&server);
        }
    }

    #[test]
    fn replies_are_read_as_they_were_written(
        request_id in ".{0,40}", sender in ".{0,30}", agent in ".{0,20}", secs in any::<i64>(), payload in ".{0,200}",
        headers in any_headers(),
    ) {
        let reply = Reply { request_id, sender, agent, time: UnixTime::from_secs(secs), payload: payload.into() };
        let written = encode_reply(&reply, Protocol::V1, &headers).unwrap();
        let read = decode_reply(&written, &Limits::default()).unwrap();
        prop_assert_eq!(read.body, reply);
        prop_assert_eq!(read.headers, headers);
    }

    #[test]
    fn calls_and_answers_are_read_as_they_were_written(
        agent in ".{0,20}", action in ".{0,20}", data in any_json(), code in 0..6_u64, message in ".{0,40}",
    ) {
        prop_assume!(data != json!("{}"));
        let call = RpcRequest::new(agent, action.clone(), data.clone());
        let limits = Limits::default();
        let again = RpcRequest::parse(&call.encode().unwrap(), &limits).unwrap();
        prop_assert_eq!(again.encode().unwrap(), call.encode().unwrap());
        let mut answer = RpcReply::failed(action, StatusCode::from_number(code).unwrap(), message);
        answer.data = data;
        let again = RpcReply::parse(&answer.encode().unwrap(), &limits).unwrap();
        prop_assert_eq!(again.statuscode, answer.statuscode);
        prop_assert_eq!(again.statusmsg, answer.statusmsg);
    }
}

proptest! {
    // Signing takes a millisecond.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_are_read_as_they_were_written(request in any_request(), headers in any_headers()) {
        let written: Bytes = encode_request(&request, &*ALICE, &headers).unwrap();
        let verified = VERIFIER.verify(&written, &Limits::default()).unwrap();
        prop_assert_eq!(&verified.request, &request);
        prop_assert_eq!(&verified.headers, &headers);
    }
}
