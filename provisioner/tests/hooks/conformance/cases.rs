//! The ways to fail, and what is wanted of every transport that meets them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::ca::{CertificatePolicy, judge_chain};
use provisioner::code::Code;
use provisioner::hook::http::{Api, HttpClient, Target};
use provisioner::hook::{Decision, Hook, HookError, HttpHook};

use crate::authority::Flaw;
use crate::node::request_for;
use crate::record;
use crate::server::{Fault, Server};

/// Whoever failed is well again by then.
const RECOVERY: Duration = Duration::from_secs(10);

/// A transport, and what it says where they differ.
pub(crate) struct Transport {
    name: &'static str,
    hook: Box<dyn Hook>,
    hangs: Code,
    fails: Code,
    truncates: Code,
    /// Whether it completes a chain itself.
    completes: bool,
}

impl Transport {
    pub(super) fn helper(name: &'static str, hook: Box<dyn Hook>) -> Self {
        Self {
            name,
            hook,
            hangs: Code::HookTimeout,
            fails: Code::HookExit,
            truncates: Code::HookProtocol,
            completes: false,
        }
    }

    pub(crate) fn http(
        url: &str,
        tls: Arc<rustls::ClientConfig>,
        api: impl Api + 'static,
        limit: Duration,
    ) -> Self {
        let target = Target::parse(url).unwrap();
        let client = HttpClient::new(target, tls, limit);
        let name = api.kind();
        Self {
            name,
            hook: Box::new(HttpHook::new(client, api)),
            hangs: Code::CaUnavailable,
            fails: Code::CaUnavailable,
            truncates: Code::CaUnavailable,
            completes: name == "cfssl",
        }
    }

    const fn is_http(&self) -> bool {
        matches!(self.hangs, Code::CaUnavailable)
    }

    /// That it failed in this way and no other, which over HTTP the code does not tell; a helper
    /// has words of its own.
    fn says(&self, error: &HookError, words: &str) {
        if self.is_http() {
            assert!(error.message.contains(words), "{}: {error}", self.name);
        }
    }
}

/// What becomes of one node: the chain it is sent, or why not.
async fn outcome(
    server: &Server,
    transport: &Transport,
    configured: bool,
) -> Result<String, HookError> {
    let about = request_for("n1.example.net");
    let answer = transport.hook.decide(&about, None).await?;
    let Decision::Issue(issued) = answer.decision else {
        let put_off = HookError::unsent(Code::HookDeferred, answer.message);
        return Err(put_off.after(answer.retry_after));
    };
    let judged = judge_chain(
        &issued.certificate,
        issued.ca.as_deref(),
        &about.request,
        &server.trust(configured),
        &CertificatePolicy::default(),
        // Certificates of some begin the second they are signed.
        jiff::Timestamp::now(),
    )?;
    Ok(judged.chain_pem().to_owned())
}

/// Takes an outcome down and holds it against what is wanted: a chain, or this code.
fn expect(
    server: &Server,
    transport: &Transport,
    case: &str,
    outcome: &Result<String, HookError>,
    wanted: Option<Code>,
) {
    let word = |code: Option<Code>| code.map_or("issued", Code::as_str);
    let code = outcome.as_ref().err().map(|error| error.code);
    record::case(server.is, transport.name, case, word(wanted), word(code));
    assert_eq!(
        code, wanted,
        "{}, {}, {case}: {outcome:?}",
        server.is, transport.name
    );
}

/// It signs, and what is signed badly is refused.
pub(super) async fn flaws(server: Arc<Server>, transport: Transport) {
    let name = transport.name;
    transport.hook.self_test().unwrap();
    transport.hook.health().await.unwrap();
    for (flaw, case, wanted) in [
        (Flaw::None, "signs", None),
        (Flaw::RootIncluded, "root included", None),
        (Flaw::WrongKey, "wrong key", Some(Code::CertKeyMismatch)),
        (Flaw::WrongAuthority, "wrong CA", Some(Code::CertUntrusted)),
        (Flaw::Expired, "expired", Some(Code::CertExpired)),
        (Flaw::ExtraName, "extra name", Some(Code::CertSanExtra)),
    ] {
        server.fail(Fault::Signs(flaw));
        let outcome = outcome(&server, &transport, false).await;
        expect(&server, &transport, case, &outcome, wanted);
        if let Ok(chain) = outcome {
            assert!(server.completes(&chain), "{name}");
            assert_eq!(
                chain.matches("BEGIN").count(),
                2,
                "{name}: leaf, intermediate"
            );
        }
    }
    server.fail(Fault::Signs(Flaw::NoChain));
    let known = outcome(&server, &transport, true).await;
    expect(
        &server,
        &transport,
        "no chain, but configured",
        &known,
        None,
    );
    let wanted = (!transport.completes).then_some(Code::CertChainIncomplete);
    let unknown = outcome(&server, &transport, false).await;
    expect(&server, &transport, "no chain", &unknown, wanted);
}

/// It says what failed and that a certificate may exist.
pub(super) async fn faults(server: Arc<Server>, transport: Transport) {
    let name = transport.name;
    let (fails, truncates) = (transport.fails, transport.truncates);
    let floods = Code::HookOutputTooLarge;
    for (fault, case, wanted, says) in [
        (Fault::Fails, "500", fails, "answered 500"),
        (
            Fault::Truncates,
            "truncated",
            truncates,
            "broke its answer off",
        ),
        (Fault::Floods, "10 MB", floods, "answered more than"),
    ] {
        server.fail(fault);
        let outcome_then = outcome(&server, &transport, false).await;
        expect(&server, &transport, case, &outcome_then, Some(wanted));
        let error = outcome_then.unwrap_err();
        assert!(!error.unsigned, "{name}, {case}: it may have signed");
        assert!(error.message.len() < 4_096, "{name}, {case}");
        transport.says(&error, says);
        // Whoever failed is asked again once it is well.
        server.fail(Fault::Signs(Flaw::None));
        let again = tokio::time::timeout(RECOVERY, async {
            while outcome(&server, &transport, false).await.is_err() {}
        });
        assert!(again.await.is_ok(), "{name} after {case}");
    }
}

/// Who never answers is not waited for.
pub(super) async fn hangs(server: Arc<Server>, transport: Transport) {
    let name = transport.name;
    transport.hook.health().await.unwrap();
    server.fail(Fault::Hangs);
    let begin = Instant::now();
    let outcome = outcome(&server, &transport, false).await;
    expect(&server, &transport, "hang", &outcome, Some(transport.hangs));
    let error = outcome.unwrap_err();
    assert!(!error.unsigned, "{name}: it may have signed");
    transport.says(&error, "did not answer within");
    assert!(begin.elapsed() < Duration::from_secs(15), "{name}");
}

/// A pause that is asked for is heard and costs no key.
pub(super) async fn pauses(server: Arc<Server>, transport: Transport) {
    server.fail(Fault::Throttles);
    let name = transport.name;
    let wanted = if transport.is_http() {
        Code::CaThrottled
    } else {
        Code::HookDeferred
    };
    let outcome = outcome(&server, &transport, false).await;
    let case = "429 with Retry-After";
    expect(&server, &transport, case, &outcome, Some(wanted));
    let error = outcome.unwrap_err();
    assert!(error.unsigned, "{name}: {error}");
    // Choria's contract has no words for it.
    if name != "exec, choria" {
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "{name}");
    }
}

/// Mistakes of ours are told from those of one node.
pub(super) async fn mistakes(server: Arc<Server>, transport: Transport) {
    if !transport.is_http() {
        // A helper says such things in its own words.
        return;
    }
    for (fault, case, wanted, says) in [
        (Fault::Redirects, "redirect", Code::CaConfig, "redirect"),
        (Fault::Forbids, "403", Code::CaConfig, "credentials"),
        (Fault::Refuses, "400", Code::CaRefused, "not this name"),
    ] {
        server.fail(fault);
        let outcome = outcome(&server, &transport, false).await;
        expect(&server, &transport, case, &outcome, Some(wanted));
        let error = outcome.unwrap_err();
        assert!(error.unsigned && error.message.contains(says), "{error}");
    }
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.path != "/elsewhere")
    );
}
