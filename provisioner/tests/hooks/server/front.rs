//! A real server behind somebody who has it fail: what is asked is handed on, and what comes back is
//! exchanged where it is to be wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::ssl::SslConnector;
use serde_json::{Value, json};

use super::{Fault, Question, Said, cut, failure, http};
use crate::authority::{Authority, Flaw};

/// Whose words a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Vault,
    Cfssl,
    StepCa,
    Acme,
}

impl Speech {
    /// Whether something is signed there, so that it is what fails.
    fn signs(self, path: &str) -> bool {
        match self {
            Self::Vault => path.contains("/sign/"),
            Self::Cfssl => path.ends_with("sign"),
            Self::StepCa => path == "/1.0/sign",
            Self::Acme => path.starts_with("/finalize-order/") || self.hands_out(path),
        }
    }

    /// Whether what comes back are certificates.
    fn hands_out(self, path: &str) -> bool {
        self != Self::Acme || path.starts_with("/certZ/")
    }

    /// The request that is to be signed.
    fn request(self, body: &[u8]) -> Option<String> {
        let asked: Value = serde_json::from_slice(body).ok()?;
        let pem = match self {
            Self::Vault | Self::StepCa => &asked["csr"],
            Self::Cfssl => match asked["request"].as_str() {
                None => &asked["certificate_request"],
                // With a key to authenticate by, the question is inside.
                Some(inner) => return self.request(&STANDARD.decode(inner).ok()?),
            },
            Self::Acme => {
                let payload = URL_SAFE_NO_PAD.decode(asked["payload"].as_str()?).ok()?;
                let payload: Value = serde_json::from_slice(&payload).ok()?;
                let der = URL_SAFE_NO_PAD.decode(payload["csr"].as_str()?).ok()?;
                return Some(pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der)));
            }
        };
        pem.as_str().map(str::to_owned)
    }

    /// The same answer with these certificates.
    fn exchanged(self, body: &[u8], chain: &[String]) -> Vec<u8> {
        if self == Self::Acme {
            return chain.concat().into_bytes();
        }
        let mut said: Value = serde_json::from_slice(body).unwrap();
        match self {
            Self::Vault => {
                said["data"]["certificate"] = json!(chain[0]);
                said["data"]["ca_chain"] = json!(chain[1..]);
                said["data"]["issuing_ca"] = json!(chain.get(1));
            }
            Self::Cfssl => said["result"]["certificate"] = json!(chain[0]),
            Self::StepCa | Self::Acme => {
                said["crt"] = json!(chain[0]);
                said["ca"] = json!(chain.last());
                said["certChain"] = json!(chain);
            }
        }
        said.to_string().into_bytes()
    }
}

/// Where a real server is.
pub(crate) struct Upstream {
    port: u16,
    tls: Option<SslConnector>,
    speech: Speech,
    /// The request that was last to be signed: ACME hands its certificate out at another address.
    request: Mutex<String>,
}

impl Upstream {
    pub(crate) fn new(port: u16, tls: Option<SslConnector>, speech: Speech) -> Self {
        Self {
            port,
            tls,
            speech,
            request: Mutex::default(),
        }
    }

    /// What the server says, unless something is signed and that is to go wrong.
    pub(super) fn answer(
        &self,
        authority: &Authority,
        question: &Question,
        fault: Fault,
    ) -> Option<Said> {
        if !self.speech.signs(&question.path) {
            return Some(self.forward(question).bytes().into());
        }
        if let Some(request) = self.speech.request(&question.body) {
            *self.request.lock().unwrap() = request;
        }
        let (flaw, half) = match fault {
            Fault::Hangs => return None,
            Fault::Signs(flaw) => (flaw, false),
            Fault::Truncates => (Flaw::None, true),
            failing => return Some(failure(failing).into()),
        };
        let mut reply = self.forward(question);
        if !reply.status.starts_with('2') {
            // It is asked again, as pebble wants it of some questions.
            return Some(reply.bytes().into());
        }
        if flaw != Flaw::None && self.speech.hands_out(&question.path) {
            let request = self.request.lock().unwrap().clone();
            let chain = authority.sign(&request, flaw);
            reply.body = self.speech.exchanged(&reply.body, &chain);
        }
        Some(cut(reply.bytes(), reply.body.len(), half))
    }

    fn forward(&self, question: &Question) -> Reply {
        let plain = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let said = match &self.tls {
            None => exchange(plain, question),
            Some(tls) => exchange(tls.connect("localhost", plain).unwrap(), question),
        };
        Reply::parse(&said).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&said)))
    }
}

/// Asks in HTTP/1.0, so that the answer ends with the connection.
fn exchange(mut stream: impl Read + Write, question: &Question) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.0\r\n", question.method, question.path);
    let ours = ["connection", "content-length", "accept-encoding"];
    for (name, value) in &question.headers {
        if !ours.contains(&name.as_str()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!("content-length: {}\r\n\r\n", question.body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&question.body).unwrap();
    let mut said = Vec::new();
    // Servers that end TLS without saying so have said everything all the same.
    let _ = stream.read_to_end(&mut said);
    said
}

/// What came back.
struct Reply {
    status: String,
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    fn parse(said: &[u8]) -> Option<Self> {
        let end = said.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&said[..end]).ok()?;
        let (first, rest) = head.split_once("\r\n")?;
        let kept = |line: &&str| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("content-length:") && !line.starts_with("connection:")
        };
        Some(Self {
            status: first.split_once(' ')?.1.to_owned(),
            headers: rest
                .lines()
                .filter(kept)
                .map(|line| format!("{line}\r\n"))
                .collect(),
            body: said[end + 4..].to_owned(),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        http(&self.status, &self.headers, &self.body)
    }
}
