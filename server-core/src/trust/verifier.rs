//! The verdict on requests.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use bytes::Bytes;
use lru::LruCache;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use super::chain::{self, CertificateNames};
use super::jwt::Organization;
use super::members::Members;
use super::{CallerRules, Rejected, TrustError};
use crate::wire::{
    CompiledFilter, Envelope, FilterSubject, FilterVerdict, Headers, Limits, Protocol, Request,
    SignedRequest, decode_request,
};
use crate::words::{CallerId, Clock, SystemClock, UnixTime};

/// Callers whose certificates are remembered as trusted.
const CERTIFICATES: usize = 64;
/// Bytes of the longest certificate text that is remembered.
const CERTIFICATE_SIZE: usize = 16 * 1024;
/// How long a certificate stays trusted without another look at its chain and validity.
const CERTIFICATE_REST: Duration = Duration::from_secs(60);
/// Requests whose verdict is remembered for the other nodes of the process.
const SHARED_REQUESTS: usize = 8;

/// A request which may be acted on, as far as its sender goes. Its age, collective and filter are the node's to judge.
#[derive(Debug, Clone)]
pub struct VerifiedRequest {
    /// The version it came in.
    pub protocol: Protocol,
    /// The transport's headers, which nobody signed.
    pub headers: Headers,
    /// The request.
    pub request: Request,
    filter: CompiledFilter,
}

impl VerifiedRequest {
    /// Whether the request is for this node. Regular expressions were compiled once for all nodes.
    #[must_use]
    pub fn matches(&self, node: &dyn FilterSubject) -> FilterVerdict {
        self.filter.matches(node)
    }
}

type Verdict = Result<Arc<VerifiedRequest>, Rejected>;

/// Judges requests. One per trust domain, shared by all nodes of a process.
pub struct Verifier {
    trust: Trust,
    clock: Arc<dyn Clock>,
    shared: Option<Mutex<VecDeque<SharedRequest>>>,
}

enum Trust {
    Certificates(Box<Certificates>),
    Tokens(Members),
    Nobody,
}

/// A request several nodes got, judged by whoever comes first.
struct SharedRequest {
    payload: Bytes,
    verdict: Arc<OnceLock<Verdict>>,
}

impl Verifier {
    /// Trusts callers with certificates of these authorities, as the rules say.
    ///
    /// # Errors
    /// When the PEM text holds no certificate or one that cannot be a root.
    pub fn new(roots_pem: &str, rules: CallerRules) -> Result<Self, TrustError> {
        let anchors = chain::anchors(&chain::parse_pem_bundle(roots_pem)?)?;
        let capacity = NonZeroUsize::new(CERTIFICATES).unwrap_or(NonZeroUsize::MIN);
        Ok(Self::with(Trust::Certificates(Box::new(Certificates {
            anchors,
            rules,
            known: Mutex::new(LruCache::new(capacity)),
        }))))
    }

    /// Trusts members of these organizations, by their tokens (protocol 2).
    #[must_use]
    pub fn members(organizations: Vec<Organization>) -> Self {
        Self::with(Trust::Tokens(Members(organizations)))
    }

    /// **Verifies nothing**: every well-formed request is taken as coming from whom it says.
    ///
    /// For nodes in provisioning mode and for networks whose broker decides who may publish.
    #[must_use]
    pub fn insecure() -> Self {
        Self::with(Trust::Nobody)
    }

    fn with(trust: Trust) -> Self {
        Self {
            trust,
            clock: Arc::new(SystemClock),
            shared: None,
        }
    }

    /// Remembers the verdicts on the last few requests.
    ///
    /// For processes with many nodes: a broadcast is verified and parsed once, every further node compares bytes.
    #[must_use]
    pub fn shared(mut self, shared: bool) -> Self {
        self.shared = shared.then(|| Mutex::new(VecDeque::with_capacity(SHARED_REQUESTS)));
        self
    }

    /// Judges the validity of certificates by this clock instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether signatures are checked at all.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        !matches!(self.trust, Trust::Nobody)
    }

    /// Reads a request and judges its sender.
    ///
    /// # Errors
    /// With the reason when it must not be acted on.
    pub fn verify(&self, payload: &Bytes, limits: &Limits) -> Verdict {
        let Some(shared) = &self.shared else {
            return self.judge(payload, limits);
        };
        let verdict = verdict_slot(&mut lock(shared), payload);
        verdict.get_or_init(|| self.judge(payload, limits)).clone()
    }

    fn judge(&self, payload: &[u8], limits: &Limits) -> Verdict {
        let Envelope {
            protocol,
            headers,
            body,
        } = decode_request(payload, limits)?;
        let request = body.request()?;
        let now = self.clock.unix();
        match (&self.trust, protocol) {
            (Trust::Nobody, _) => {}
            (Trust::Certificates(known), Protocol::V1) => {
                known.check(&body, &request.caller, limits, now)?;
            }
            (Trust::Tokens(members), Protocol::V2) => members.check(&body, &request.caller, now)?,
            (Trust::Certificates(_), Protocol::V2) | (Trust::Tokens(_), Protocol::V1) => {
                let caller = request.caller.chars().take(80).collect();
                return Err(Rejected::Protocol { caller });
            }
        }
        let filter = request.filter.compile();
        Ok(Arc::new(VerifiedRequest {
            protocol,
            headers,
            request,
            filter,
        }))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trust {
            Trust::Nobody => f.write_str("Verifier(INSECURE: requests are not verified)"),
            Trust::Tokens(members) => f.debug_tuple("Verifier").field(members).finish(),
            Trust::Certificates(certificates) => f
                .debug_struct("Verifier")
                .field("roots", &certificates.anchors.len())
                .field("rules", &certificates.rules)
                .field("shared", &self.shared.is_some())
                .finish(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of a request's verdict, newest first. Equal requests get the same place, perhaps still empty.
fn verdict_slot(recent: &mut VecDeque<SharedRequest>, payload: &Bytes) -> Arc<OnceLock<Verdict>> {
    let same = |known: &&SharedRequest| {
        known.payload.len() == payload.len()
            && (known.payload.as_ptr() == payload.as_ptr() || known.payload == *payload)
    };
    if let Some(known) = recent.iter().find(same) {
        return Arc::clone(&known.verdict);
    }
    let verdict = Arc::new(OnceLock::new());
    recent.truncate(SHARED_REQUESTS - 1);
    recent.push_front(SharedRequest {
        payload: payload.clone(),
        verdict: Arc::clone(&verdict),
    });
    verdict
}

/// Trust by certificates.
struct Certificates {
    anchors: Vec<TrustAnchor<'static>>,
    rules: CallerRules,
    /// By the exact text of the certificate as sent.
    known: Mutex<LruCache<String, Arc<Known>>>,
}

/// A certificate that led to a root when it was last looked at.
struct Known {
    names: CertificateNames,
    key: ParsedPublicKey,
    until: UnixTime,
}

impl Certificates {
    fn check(
        &self,
        signed: &SignedRequest,
        caller: &str,
        limits: &Limits,
        now: UnixTime,
    ) -> Result<(), Rejected> {
        let caller = CallerId::parse(caller)?;
        let certificate = self.certificate(&signed.pubcert, &caller, limits, now)?;
        self.check_name(&certificate.names, &caller)?;
        let wrong = |detail| Rejected::Signature {
            caller: caller.as_str().to_owned(),
            detail,
        };
        let signature = crate::wire::decode_base64(signed.signature.as_bytes())
            .ok_or_else(|| wrong("it is not base64 of the standard alphabet with padding"))?;
        certificate
            .key
            .verify_sig(signed.message.as_bytes(), &signature)
            .map_err(|_| wrong("it was not made over this text by the key of the certificate"))
    }

    fn check_name(&self, names: &CertificateNames, caller: &CallerId) -> Result<(), Rejected> {
        if self.rules.is_privileged(names.iter()) {
            return Ok(());
        }
        if !names.iter().any(|name| name == caller.name()) {
            return Err(Rejected::Name {
                caller: caller.as_str().to_owned(),
                names: names.iter().map(str::to_owned).collect(),
            });
        }
        if !self.rules.allows(caller.name()) {
            return Err(Rejected::NotAllowed {
                caller: caller.as_str().to_owned(),
            });
        }
        Ok(())
    }

    /// The certificate of a request, if it leads to a root.
    fn certificate(
        &self,
        pem: &str,
        caller: &CallerId,
        limits: &Limits,
        now: UnixTime,
    ) -> Result<Arc<Known>, Rejected> {
        if let Some(known) = lock(&self.known).get(pem)
            && now < known.until
            && now >= known.until.minus(CERTIFICATE_REST)
        {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(self.examine(pem, caller, limits, now)?);
        if pem.len() <= CERTIFICATE_SIZE {
            lock(&self.known).put(pem.to_owned(), Arc::clone(&known));
        }
        Ok(known)
    }

    fn examine(
        &self,
        pem: &str,
        caller: &CallerId,
        limits: &Limits,
        now: UnixTime,
    ) -> Result<Known, Rejected> {
        let caller = || caller.as_str().to_owned();
        let unreadable = |detail: String| Rejected::Certificate {
            caller: caller(),
            detail,
        };
        let blocks = bundle(pem, limits.max_certificates).map_err(|fault| match fault {
            BundleFault::Unsigned => Rejected::Unsigned { caller: caller() },
            BundleFault::Unreadable(detail) => unreadable(detail),
        })?;
        let leaf = chain::parse(&blocks[0]).map_err(|error| unreadable(error.to_string()))?;
        let names = chain::names_of(&leaf).map_err(|error| unreadable(error.to_string()))?;
        let key = rsa_key(&leaf).ok_or_else(|| Rejected::KeyAlgorithm { caller: caller() })?;
        chain::verify_with_anchors(&blocks[0], &blocks[1..], &self.anchors, now).map_err(
            |error| Rejected::Chain {
                caller: caller(),
                detail: match error {
                    TrustError::Chain(detail) => detail,
                    other => other.to_string(),
                },
            },
        )?;
        Ok(Known {
            names,
            key,
            until: now.plus(CERTIFICATE_REST),
        })
    }
}

enum BundleFault {
    Unsigned,
    Unreadable(String),
}

/// The certificates a caller sent, its own first. Text around them is skipped, other blocks behind the first too.
fn bundle(pem: &str, max: usize) -> Result<Vec<CertificateDer<'static>>, BundleFault> {
    if pem.starts_with("insecure") {
        return Err(BundleFault::Unsigned);
    }
    let blocks = pem::parse_many(pem).map_err(|e| BundleFault::Unreadable(e.to_string()))?;
    if blocks
        .first()
        .is_none_or(|first| first.tag() != "CERTIFICATE")
    {
        let detail = "it does not start with a certificate in PEM form";
        return Err(BundleFault::Unreadable(detail.to_owned()));
    }
    let certificates: Vec<_> = blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if certificates.len() > max {
        let detail = format!(
            "{} certificates, more than the {max} accepted",
            certificates.len()
        );
        return Err(BundleFault::Unreadable(detail));
    }
    Ok(certificates)
}

/// The key of a certificate for verifying RSA signatures; nothing for keys of other kinds or sizes.
fn rsa_key(certificate: &x509_cert::Certificate) -> Option<ParsedPublicKey> {
    let spki = certificate.tbs_certificate().subject_public_key_info();
    if spki.algorithm.oid != const_oid::db::rfc5912::RSA_ENCRYPTION {
        return None;
    }
    let bits = spki.subject_public_key.as_bytes()?;
    let key = aws_lc_rs::rsa::PublicKey::from_der(bits).ok()?;
    if !(256..=1024).contains(&key.modulus_len()) {
        return None;
    }
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bits).ok()
}
