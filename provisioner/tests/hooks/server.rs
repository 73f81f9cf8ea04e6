//! A server that speaks like each kind of authority, or stands before a real one, and fails as it
//! is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;
use provisioner::ca::TrustStore;
use serde_json::{Value, json};

mod acme;
mod front;

use crate::authority::{Authority, Flaw, Signer};
pub(crate) use front::{Speech, Upstream};

/// How a server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It signs, well or badly.
    Signs(Flaw),
    Hangs,
    /// 500.
    Fails,
    /// 429 with `Retry-After: 7`.
    Throttles,
    /// Half of its answer.
    Truncates,
    /// 10 MB.
    Floods,
    /// 307 to a place that counts whether it is asked.
    Redirects,
    /// 403.
    Forbids,
    /// 400.
    Refuses,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Question {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What a server says, on the wire.
struct Said {
    bytes: Vec<u8>,
    /// The connection ends here, in the middle of the answer.
    ends: bool,
}

impl From<Vec<u8>> for Said {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, ends: false }
    }
}

/// What a server says to a question; none where it hangs.
type Respond = dyn Fn(&Question, Fault) -> Option<Said> + Send + Sync;

/// A running server; its threads end with the process.
pub(crate) struct Server {
    /// What it is, in the records of a run.
    pub(crate) is: &'static str,
    roots: String,
    intermediates: Vec<String>,
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    asked: Arc<Mutex<Vec<Question>>>,
    secure: bool,
}

/// A server's certificate, and whose clients it wants to see.
pub(crate) struct Identity<'a> {
    pub(crate) server: &'a Signer,
    pub(crate) clients: Option<&'a Signer>,
}

impl Server {
    pub(crate) fn start(authority: &Arc<Authority>) -> Self {
        Self::start_with(authority, None)
    }

    pub(crate) fn start_with(authority: &Arc<Authority>, tls: Option<&Identity<'_>>) -> Self {
        let signs = Arc::clone(authority);
        Self::serving("stand-in", authority, tls, move |question, fault| {
            answer(&signs, question, fault)
        })
    }

    /// A server that is asked through this one, which has it fail.
    pub(crate) fn before(
        is: &'static str,
        upstream: Upstream,
        authority: &Arc<Authority>,
        tls: Option<&Identity<'_>>,
    ) -> Self {
        let forges = Arc::clone(authority);
        Self::serving(is, authority, tls, move |question, fault| {
            upstream.answer(&forges, question, fault)
        })
    }

    fn serving(
        is: &'static str,
        authority: &Authority,
        tls: Option<&Identity<'_>>,
        respond: impl Fn(&Question, Fault) -> Option<Said> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            is,
            roots: authority.root.pem(),
            intermediates: vec![authority.intermediate.pem()],
            address: listener.local_addr().unwrap(),
            fault: Arc::new(Mutex::new(Fault::Signs(Flaw::None))),
            asked: Arc::default(),
            secure: tls.is_some(),
        };
        let tls = tls.map(acceptor);
        let (fault, asked) = (Arc::clone(&server.fault), Arc::clone(&server.asked));
        let respond: Arc<Respond> = Arc::new(respond);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (fault, respond) = (Arc::clone(&fault), Arc::clone(&respond));
                let (asked, tls) = (Arc::clone(&asked), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &*respond, &fault, &asked),
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream) {
                            serve(stream, &*respond, &fault, &asked);
                        }
                    }
                });
            }
        });
        server
    }

    /// Adds an authority that it signs with, root and intermediate.
    pub(crate) fn trusting(mut self, root: &str, intermediate: String) -> Self {
        self.roots += root;
        self.intermediates.push(intermediate);
        self
    }

    /// What the service is configured with, intermediates included or not.
    pub(crate) fn trust(&self, pool: bool) -> TrustStore {
        let pool = if pool {
            self.intermediates.concat()
        } else {
            String::new()
        };
        TrustStore::from_pem(&self.roots, &pool).unwrap()
    }

    /// Whether a chain ends below a root of the server's.
    pub(crate) fn completes(&self, chain: &str) -> bool {
        let ends = |issuer: &String| chain.ends_with(issuer);
        self.intermediates.iter().any(ends)
    }

    pub(crate) fn url(&self) -> String {
        if self.secure {
            return format!("https://localhost:{}", self.address.port());
        }
        format!("http://{}", self.address)
    }

    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

fn acceptor(identity: &Identity<'_>) -> SslAcceptor {
    let mut tls = SslAcceptor::mozilla_modern_v5(SslMethod::tls()).unwrap();
    tls.set_certificate(&identity.server.certificate).unwrap();
    tls.set_private_key(&identity.server.key).unwrap();
    if let Some(clients) = identity.clients {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(clients.certificate.clone()).unwrap();
        tls.set_verify_cert_store(store.build()).unwrap();
        tls.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    tls.build()
}

fn serve(
    stream: impl Read + Write,
    respond: &Respond,
    fault: &Mutex<Fault>,
    asked: &Mutex<Vec<Question>>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(question) = read(&mut stream) {
        asked.lock().unwrap().push(question.clone());
        let fault = *fault.lock().unwrap();
        let out = stream.get_mut();
        let Some(said) = respond(&question, fault) else {
            std::thread::sleep(Duration::from_secs(600));
            return;
        };
        let written = out.write_all(&said.bytes).and_then(|()| out.flush());
        if written.is_err() || said.ends {
            return;
        }
    }
}

fn read(stream: &mut BufReader<impl Read>) -> Option<Question> {
    let mut first = String::new();
    stream.read_line(&mut first).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        if header.0 == "content-length" {
            length = header.1.parse().ok()?;
        }
        headers.push(header);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Question {
        method,
        path,
        headers,
        body,
    })
}

/// The whole answer on the wire; none where it hangs.
fn answer(authority: &Authority, question: &Question, fault: Fault) -> Option<Said> {
    if let Some(answer) = acme::ordered(question) {
        return Some(answer.into());
    }
    let asked: Value = serde_json::from_slice(&question.body).unwrap_or_default();
    if let Some(health) = healthy(authority, question, &asked) {
        return Some(http("200 OK", "", health.as_bytes()).into());
    }
    let (flaw, more) = match fault {
        Fault::Hangs => return None,
        Fault::Truncates => (Flaw::None, true),
        Fault::Signs(flaw) => (flaw, false),
        failing => return Some(failure(failing).into()),
    };
    if let Some((headers, body)) = acme::signed(authority, question, flaw) {
        return Some(cut(
            http("200 OK", &headers, body.as_bytes()),
            body.len(),
            more,
        ));
    }
    let body = signed(authority, question, &asked, flaw).to_string();
    Some(cut(http("200 OK", "", body.as_bytes()), body.len(), more))
}

/// What is said instead of an answer.
fn failure(fault: Fault) -> Vec<u8> {
    match fault {
        Fault::Throttles => http("429 Too Many Requests", "Retry-After: 7\r\n", b"slower"),
        Fault::Redirects => http("307 Temporary Redirect", "Location: /elsewhere\r\n", b""),
        Fault::Forbids => http("403 Forbidden", "", b"permission denied"),
        Fault::Refuses => http("400 Bad Request", "", b"not this name"),
        Fault::Floods => http("200 OK", "", &vec![b'x'; 10_000_000]),
        Fault::Fails | Fault::Signs(_) | Fault::Hangs | Fault::Truncates => {
            http("500 Internal Server Error", "", b"out of entropy")
        }
    }
}

/// Without the second half of its body, if it is to be so.
fn cut(mut bytes: Vec<u8>, body: usize, ends: bool) -> Said {
    if ends {
        bytes.truncate(bytes.len() - body / 2);
    }
    Said { bytes, ends }
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// What is asked of it before any node is.
fn healthy(authority: &Authority, question: &Question, asked: &Value) -> Option<String> {
    let issuer = authority.intermediate.pem();
    match question.path.as_str() {
        "/health" => Some(json!({"status": "ok"}).to_string()),
        "/v1/pki/ca/pem" => Some(issuer),
        "/api/v1/cfssl/info" => {
            let result = json!({ "certificate": issuer, "usages": ["client auth"] });
            Some(json!({"success": true, "result": result, "errors": []}).to_string())
        }
        _ if asked["op"] == "health" => {
            let id = &asked["request_id"];
            Some(json!({"request_id": id, "decision": "ok"}).to_string())
        }
        _ => None,
    }
}

fn signed(authority: &Authority, question: &Question, asked: &Value, flaw: Flaw) -> Value {
    let sign = |csr: &Value| authority.sign(csr.as_str().unwrap(), flaw);
    match question.path.as_str() {
        "/v1/pki/sign/nodes" => {
            let chain = sign(&asked["csr"]);
            let (leaf, rest) = chain.split_first().unwrap();
            json!({"data": {"certificate": leaf, "ca_chain": rest, "serial_number": "1"}})
        }
        "/api/v1/cfssl/sign" => {
            let chain = sign(&asked["certificate_request"]);
            json!({"success": true, "result": {"certificate": chain[0]}, "errors": []})
        }
        "/1.0/sign" => {
            let chain = sign(&asked["csr"]);
            json!({"crt": chain[0], "ca": chain.last(), "certChain": chain})
        }
        "/choria" => {
            let chain = sign(&asked["csr"]["csr"]).concat();
            json!({"certificate": chain, "configuration": {"plugin.choria.server.provision": "false"}})
        }
        path => {
            assert_eq!(path, "/", "nobody else is asked");
            let chain = sign(&asked["csr_pem"]).concat();
            json!({"request_id": asked["request_id"], "decision": "issue", "cert_chain_pem": chain})
        }
    }
}
