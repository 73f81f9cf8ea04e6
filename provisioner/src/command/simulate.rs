//! `provisioner simulate`: what would become of a node, with nothing asked of it and
//! nothing signed.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use server_core::trust::{KeyAlgorithm, KeyPair};
use zeroize::Zeroizing;

mod known;
mod told;

use super::Exit;
use crate::code::{Class, Code, Refusal};
use crate::config::Config;
use crate::hook::{Decision, HookAnswer, HookRequest, Issued};
use crate::issuer::Holder;
use crate::judge::{self, CsrReply, Ed25519Reply, configuration};
use crate::placement::{Candidate, Target, nowhere};
use crate::site::{Issues, Site};
use crate::step::Step;
use crate::template::Scope;
use known::Known;
use told::{Simulated, TokenClaims, print};

/// More than this is not read of a file.
const MAX_FILE: u64 = 1 << 20;

/// Say what would become of a node: rules, ledger, hook and templates, nothing signed
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner simulate web17.example.net --csr node.csr --inventory node.json
  provisioner simulate web17.example.net --csr node.csr --token provisioning.jwt --json | jq .config

Asks the hook with dry_run, so it needs one that can be asked so: the built-in authority, or a
helper of our own contract. Where there is a ledger, it counts what was decided about the node and
whether it may enrol with this key (where nodes get server tokens: with a new one); not whether the
key is another node's, or a token is used up.
Exit status: 0 it would be enrolled, 1 it would not, 2 it cannot be said")]
pub struct SimulateArgs {
    /// The node
    identity: String,
    /// Its certificate request in PEM, where nodes get certificates; - reads standard input
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Its inventory, a JSON object
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Its provisioning token
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The folder of its TLS files
    #[arg(long, value_name = "FOLDER", default_value = "/etc/choria/ssl")]
    ssldir: String,
    /// Answer with one JSON object: the decision as hooks write it
    #[arg(long)]
    json: bool,
}

/// Where it ended before an answer, and why.
type Stopped = (Step, Refusal);

impl SimulateArgs {
    /// Says what would become of the node.
    ///
    /// # Errors
    /// A file cannot be read, the configuration is wrong, or the hook can only be asked in earnest.
    pub fn run(&self, config: Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let site = Site::load(config)?;
        let simulated = match self.simulate(&site)? {
            Ok(simulated) => simulated,
            Err((step, refusal)) => Simulated {
                decision: word(refusal.code),
                step: Some(step),
                reason_code: Some(refusal.code),
                retry_after_s: refusal.retry_after.map(|pause| pause.as_secs()),
                message: refusal.message,
                ..Simulated::default()
            },
        };
        let simulated = Simulated {
            identity: self.identity.clone(),
            ..simulated
        };
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&simulated)?)?;
        } else {
            print(out, &simulated)?;
        }
        Ok(match simulated.decision {
            "issue" => Exit::Success,
            _ => Exit::Negative,
        })
    }

    fn simulate(&self, site: &Site) -> anyhow::Result<Result<Simulated, Stopped>> {
        let asked = self.asked(site)?;
        let inventory = match &self.inventory {
            Some(file) => serde_json::from_slice(&read(file)?)
                .with_context(|| format!("{} is no JSON", file.display()))?,
            None => json!({}),
        };
        let token = self.token.as_deref().map(read).transpose()?;
        let now = Timestamp::now();
        let known = Known::of(&site.config, &self.identity)?;
        let judged = known
            .held()
            .and_then(|()| {
                let token = token.as_ref().map(|token| token.as_slice());
                claims(site, token, now, &self.identity, &inventory)
            })
            .and_then(|claims| {
                let policy = &site.config.csr.policy;
                let request = match &asked.ed25519 {
                    Some(reply) => judge::judge_possession(reply, &self.identity, policy.punycode),
                    None => judge::judge(asked.csr.as_bytes(), &self.identity, policy),
                };
                let request = request.map_err(at(Step::Csr))?;
                known.admits(&request, site.config.policy(), now)?;
                Ok((claims, request))
            });
        let (claims, request) = match judged {
            Ok(judged) => judged,
            Err(stopped) => return Ok(Err(stopped)),
        };
        let question = HookRequest {
            request,
            csr: asked,
            inventory,
            claims,
            attempt: 1,
            renewal: 0,
            now,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answer = match runtime.block_on(site.hook.rehearse(&question)) {
            Ok(Some(answer)) => answer,
            Ok(None) => anyhow::bail!(
                "the hook ({}) cannot be asked without having something signed",
                site.hook.kind()
            ),
            Err(error) => return Ok(Err((Step::Sign, error.into()))),
        };
        Ok(self.answered(site, &question, answer, &known))
    }

    /// What the node would answer when it is asked for a key. Where nodes get tokens that is a new
    /// key: only to a node that is enrolled it matters which.
    fn asked(&self, site: &Site) -> anyhow::Result<CsrReply> {
        match (&site.issues, &self.csr) {
            (Issues::Certificates(_), Some(csr)) => Ok(CsrReply {
                csr: String::from_utf8_lossy(&read(csr)?).into_owned(),
                ssldir: self.ssldir.clone(),
                ..CsrReply::default()
            }),
            (Issues::Certificates(_), None) => {
                anyhow::bail!("name the node's certificate request with --csr FILE")
            }
            (Issues::Tokens(_), Some(_)) => {
                anyhow::bail!("nodes get server tokens here and make no request; leave out --csr")
            }
            (Issues::Tokens(_), None) => {
                let key = KeyPair::generate(KeyAlgorithm::Ed25519)?;
                let nonce = "simulated".to_owned();
                let reply = Ed25519Reply {
                    public_key: hex::encode(key.public_raw()),
                    directory: self.ssldir.clone(),
                    signature: hex::encode(key.sign(nonce.as_bytes())?),
                    nonce,
                };
                Ok(CsrReply {
                    ed25519: Some(reply),
                    ..CsrReply::default()
                })
            }
        }
    }

    fn answered(
        &self,
        site: &Site,
        question: &HookRequest,
        answer: HookAnswer,
        known: &Known,
    ) -> Result<Simulated, Stopped> {
        let (decision, reason_code) = match &answer.decision {
            Decision::Issue(_) => ("issue", None),
            Decision::Defer => ("defer", Some(Code::HookDeferred)),
            Decision::Refuse => ("refuse", Some(Code::HookRefused)),
            Decision::Quarantine => ("quarantine", Some(Code::HookQuarantined)),
            Decision::Shutdown => ("shutdown", Some(Code::HookShutdown)),
        };
        let mut simulated = Simulated {
            decision,
            reason_code,
            step: reason_code.map(|_| Step::Sign),
            message: answer.message,
            retry_after_s: answer.retry_after.map(|pause| pause.as_secs()),
            ..Simulated::default()
        };
        if let Decision::Issue(issued) = answer.decision {
            issued.judge_upgrade().map_err(at(Step::Sign))?;
            let (validity, server_claims) = self.granted(site, question, &issued)?;
            (simulated.validity_s, simulated.server_claims) = (validity.as_secs(), server_claims);
            let scope = Scope {
                identity: &self.identity,
                ssldir: issued.ssldir.as_deref().unwrap_or(&self.ssldir),
                inventory: &question.inventory,
                claims: &question.claims,
                target: self.place(site, question, issued.placement.as_deref(), known)?,
            };
            let stopped = at(Step::Configure);
            let settings = match issued.configuration {
                Some(given) => {
                    let own = site.templates.target_settings(scope);
                    let mut settings = own.map_err(&stopped)?;
                    settings.extend(given);
                    settings
                }
                None => site.templates.settings(scope).map_err(&stopped)?,
            };
            let mut policies = site.templates.policies(scope).map_err(&stopped)?;
            policies.extend(issued.action_policies);
            let opa = issued.opa_policies;
            let judged = configuration::judge(&self.identity, settings, policies, opa);
            simulated.config = json!(judged.map_err(stopped)?.settings());
            simulated.placement = scope.target.map(|target| target.name.clone());
        }
        Ok(simulated)
    }

    /// How long what the node gets would be valid, and what it says where that is a server token:
    /// by the checks of issuing.
    fn granted(
        &self,
        site: &Site,
        question: &HookRequest,
        issued: &Issued,
    ) -> Result<(Duration, Option<TokenClaims>), Stopped> {
        let Issues::Tokens(issuer) = &site.issues else {
            let allowed = site.config.ca.validity;
            let wanted = issued.validity.unwrap_or(allowed);
            return Ok((wanted.min(allowed), None));
        };
        let reply = question.csr.ed25519.as_ref();
        let holder = Holder {
            identity: &self.identity,
            public_key: reply.map_or("", |reply| reply.public_key.as_str()),
        };
        let (wanted, longest) = (issued.server_claims.as_ref(), issued.validity);
        let claims = issuer.rehearse(holder, wanted, longest, question.now);
        let claims = claims.map_err(at(Step::Sign))?;
        let exp = claims.standard.expires();
        let left = exp.map_or(0, |end| end.saturating_sub(question.now.as_second()));
        let told = TokenClaims {
            ou: claims.ou,
            collectives: claims.collectives,
            permissions: claims.permissions,
            pub_subjects: claims.pub_subjects,
            exp,
        };
        let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        Ok((left, Some(told)))
    }

    /// The target the node would be placed at, by how full the ledger says they are.
    fn place<'s>(
        &self,
        site: &'s Site,
        question: &HookRequest,
        by_hook: Option<&str>,
        known: &Known,
    ) -> Result<Option<&'s Target>, Stopped> {
        let placement = &site.config.placement;
        if let Some(name) = by_hook {
            return placement.named(name).map(Some).map_err(at(Step::Sign));
        }
        if !placement.is_used() {
            return Ok(None);
        }
        let before = known.show.as_ref().and_then(|show| show.target.as_deref());
        let candidate = Candidate {
            identity: &self.identity,
            inventory: &question.inventory,
            claims: &question.claims,
            before,
        };
        let count = |target: &str| known.placed.get(target).copied().unwrap_or(0);
        let chosen = placement.choose(candidate, count);
        chosen.map(Some).ok_or_else(|| (Step::Sign, nowhere()))
    }
}

/// The claims of the node's token, judged; none where no token is given.
fn claims(
    site: &Site,
    token: Option<&[u8]>,
    now: Timestamp,
    identity: &str,
    inventory: &Value,
) -> Result<Value, Stopped> {
    let Some(token) = token else {
        return Ok(Value::Null);
    };
    let token = String::from_utf8_lossy(token);
    let judged = judge::token::judge(token.trim(), &site.token_keys, &site.token_rules, now);
    let judged = judged.map_err(at(Step::Inspect))?;
    let admitted = judged.scope().admits(identity, inventory);
    admitted.map_err(at(Step::Inspect))?;
    let mut claims = serde_json::to_value(judged.claims()).unwrap_or_default();
    if let Some(claims) = claims.as_object_mut() {
        claims.remove("cht");
        claims.remove("chpwd");
    }
    Ok(claims)
}

fn at(step: Step) -> impl Fn(Refusal) -> Stopped {
    move |refusal| (step, refusal)
}

/// The decision a code stands for.
const fn word(code: Code) -> &'static str {
    match code.class() {
        Class::Refuse => "refuse",
        Class::Quarantine | Class::Conflict => "quarantine",
        Class::Defer | Class::Fatal => "defer",
    }
}

/// A request may hold a private key by mistake, so what is read is wiped afterwards.
fn read(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if file == Path::new("-") {
        io::stdin().lock().take(MAX_FILE).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|open| open.take(MAX_FILE).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bytes)
}
