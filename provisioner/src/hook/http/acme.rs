//! ACME (RFC 8555): an order for the node's name, finalised with the node's own request.
//!
//! `transport` carries it over our own client, to the directory's server alone; `problem` says
//! what an error means for a node; `account` keeps the account in a file; `dns` proves names with
//! a command of the site's, where the server does not take the account's word for them. Nothing
//! is signed before the order is finalised, so whatever fails until then costs no node its key.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use tokio::sync::OnceCell;

mod account;
mod dns;
pub(super) mod problem;
mod transport;

pub use account::ExternalAccount;
pub use dns::DnsCommand;
use dns::Record;

use super::{Api, HttpClient, issue};
use crate::code::Code;
use crate::hook::{HookAnswer, HookError, HookRequest};

/// The first pause before an order is looked at again; the next are longer.
const LOOK: Duration = Duration::from_millis(100);
/// By how much.
const LONGER: f32 = 1.5;

/// What an ACME server is told, and where the account is kept.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// The file of the account, with its private key; made with the account.
    pub account: PathBuf,
    /// How the server's people reach those of the account: `mailto:ca@example.net`.
    pub contact: Vec<String>,
    /// Whether the server's terms of service are agreed to.
    pub terms_agreed: bool,
    /// The account elsewhere that a new account is bound to.
    pub external: Option<ExternalAccount>,
    /// The profile of certificates, where the server has several.
    pub profile: Option<String>,
    /// What proves names, if anything does.
    pub dns: Option<DnsCommand>,
    /// How long proofs may be looked at, and how long signing may take.
    pub order_timeout: Duration,
}

/// Asks an ACME server.
pub struct Acme {
    settings: AcmeSettings,
    account: OnceCell<Account>,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Acme {
    /// A server that is told this.
    #[must_use]
    pub const fn new(settings: AcmeSettings) -> Self {
        Self {
            settings,
            account: OnceCell::const_new(),
        }
    }

    async fn account(&self, client: &HttpClient) -> Result<&Account, HookError> {
        let open = || account::open(&self.settings, client);
        self.account.get_or_try_init(open).await
    }

    /// An order for these names, ready to be finalised.
    async fn ready(&self, client: &HttpClient, names: &[Identifier]) -> Result<Order, HookError> {
        let wanted = NewOrder::new(names);
        let wanted = match &self.settings.profile {
            Some(profile) => wanted.profile(profile),
            None => wanted,
        };
        let account = self.account(client).await?;
        let mut order = account.new_order(&wanted).await.map_err(problem::error)?;
        match order.state().status {
            OrderStatus::Ready => return Ok(order),
            OrderStatus::Pending => {}
            other => return Err(odd(&format!("a new order is {other:?}"))),
        }
        let mut records = Vec::new();
        let proven = self.prove(&mut order, names, &mut records).await;
        if let Some(dns) = &self.settings.dns {
            for record in &records {
                if let Err(error) = dns.cleanup(record).await {
                    tracing::warn!(name = record.name, "a record stays in the DNS: {error}");
                }
            }
        }
        proven.map(|()| order)
    }

    /// Shows the server that the names are ours, as far as it wants to see that.
    async fn prove(
        &self,
        order: &mut Order,
        names: &[Identifier],
        records: &mut Vec<Record>,
    ) -> Result<(), HookError> {
        let mut authorizations = order.authorizations();
        while let Some(found) = authorizations.next().await {
            let mut found = found.map_err(problem::error)?;
            if found.status == AuthorizationStatus::Valid {
                continue;
            }
            let identifier = found.identifier().identifier.clone();
            let (Identifier::Dns(name), true) = (&identifier, names.contains(&identifier)) else {
                return Err(unprovable(&identifier));
            };
            let Some(dns) = &self.settings.dns else {
                return Err(unprovable(&identifier));
            };
            let challenge = found.challenge(ChallengeType::Dns01);
            let challenge = challenge.ok_or_else(|| unprovable(&identifier))?;
            let record = Record::new(name, challenge.key_authorization().dns_value());
            // Noted first: what was half done is cleaned up too.
            records.push(record.clone());
            dns.present(&record).await?;
        }
        if let Some(dns) = &self.settings.dns {
            tokio::time::sleep(dns.wait).await;
        }
        let mut authorizations = order.authorizations();
        while let Some(found) = authorizations.next().await {
            let mut found = found.map_err(problem::error)?;
            if found.status == AuthorizationStatus::Pending
                && let Some(mut challenge) = found.challenge(ChallengeType::Dns01)
            {
                challenge.set_ready().await.map_err(problem::error)?;
            }
        }
        let status = order.poll_ready(&self.patience()).await;
        let invalid = order.state().status == OrderStatus::Invalid;
        match status {
            Ok(OrderStatus::Ready) => Ok(()),
            Err(error) if !invalid => Err(problem::error(error)),
            _ => Err(unproven(order).await),
        }
    }

    fn patience(&self) -> RetryPolicy {
        RetryPolicy::new()
            .initial_delay(LOOK)
            .backoff(LONGER)
            .timeout(self.settings.order_timeout)
    }

    /// The certificate of an order that is finalised: leaf, and what the server sends along.
    async fn certificate(&self, order: &mut Order) -> Result<String, HookError> {
        let chain = match order.state().status {
            OrderStatus::Valid => order.certificate().await,
            _ => order.poll_certificate(&self.patience()).await.map(Some),
        };
        let invalid = order.state().status == OrderStatus::Invalid;
        match chain {
            Ok(Some(chain)) => Ok(chain),
            Ok(None) => Err(odd("an order is valid and has no certificate")),
            Err(error) => Err(HookError {
                // An order that is invalid has none, and never will.
                unsigned: invalid,
                ..problem::error(error)
            }),
        }
    }
}

#[async_trait]
impl Api for Acme {
    fn kind(&self) -> &'static str {
        "acme"
    }

    fn self_test(&self) -> Result<(), HookError> {
        match &self.settings.dns {
            Some(dns) => dns.program.check(),
            None => Ok(()),
        }
    }

    async fn health(&self, client: &HttpClient) -> Result<(), HookError> {
        self.account(client).await.map(drop)
    }

    async fn sign(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<HookAnswer, HookError> {
        let begin = Instant::now();
        let csr = pem::parse(&request.csr.csr)
            .map_err(|error| HookError::unsent(Code::CaRefused, error.to_string()))?;
        let addresses = request.request.addresses().iter().copied();
        let name = Identifier::Dns(request.request.identity().to_owned());
        let names: Vec<_> = std::iter::once(name)
            .chain(addresses.map(Identifier::Ip))
            .collect();
        let order = self.ready(client, &names).await;
        let mut order = order.map_err(|error| HookError {
            unsigned: true,
            ..error
        })?;
        let finalised = order.finalize_csr(csr.contents()).await;
        finalised.map_err(problem::error)?;
        let chain = self.certificate(&mut order).await?;
        tracing::debug!(order = order.url(), took = ?begin.elapsed(), "an order was filled");
        Ok(issue(std::iter::once(chain.as_str())))
    }
}

/// The server wants to see something that nobody here can show.
fn unprovable(identifier: &Identifier) -> HookError {
    let name = identifier.authorized(false).to_string();
    let says = format!(
        "the ACME server wants a proof for {name} that cannot be given; let it trust this account \
         for the fleet's names, or name a `dns_command` in [ca] for those that it proves by dns-01"
    );
    HookError::unsent(Code::CaConfig, says)
}

/// Why the server did not believe what it was shown.
async fn unproven(order: &mut Order) -> HookError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut found)) = authorizations.next().await {
        let Ok(state) = found.refresh().await else {
            continue;
        };
        let name = state.identifier().to_string();
        let mut challenges = state.challenges.iter();
        if let Some(error) = challenges.find_map(|challenge| challenge.error.as_ref()) {
            let says = format!("the ACME server did not see that {name} is ours: {error}");
            return HookError::unsent(Code::CaUnavailable, says);
        }
    }
    HookError::unsent(
        Code::CaUnavailable,
        "the ACME server declared the order invalid and does not say why",
    )
}

fn odd(what: &str) -> HookError {
    let says = format!("the ACME server answered what it should not: {what}");
    HookError::new(Code::HookProtocol, says)
}
