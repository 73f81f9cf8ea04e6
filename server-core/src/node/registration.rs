//! Registration data of a node in provisioning mode: one file, published at an interval.

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::life::Core;
use crate::bus::Bus;
use crate::trust::{InsecureSigner, RegistrationSigner};
use crate::wire::{
    Filter, Headers, Request, RequestSigner, encode_request, new_request_id, to_go_json,
};
use crate::words::subject::{NO_REPLY, PROVISIONING_REGISTRATION};

/// Time between two publications.
pub(super) const EVERY: Duration = Duration::from_secs(120);

/// What is published, and whether it changed since the last time.
pub(super) struct Registration {
    path: String,
    last: Option<i64>,
}

#[derive(Serialize)]
struct FileContent<'a> {
    mtime: i64,
    file: &'a str,
    updated: bool,
    protocol: &'a str,
    zcontent: String,
}

impl Registration {
    /// The registration of this node, if its token names a file.
    pub(super) fn of(core: &Core) -> Option<Self> {
        let token = core.node.provisioning.as_ref()?;
        // As in the original: protocol 2 has no unsigned requests.
        (!token.claims.v2 && !token.claims.chrd.is_empty()).then(|| Self {
            path: token.claims.chrd.clone(),
            last: None,
        })
    }

    /// Publishes the file's content, if there is a file.
    pub(super) async fn publish(&mut self, core: &Core, bus: &dyn Bus) {
        let sent = match self.message(core, &bus.server()) {
            Ok(None) => return,
            Ok(Some(message)) => bus
                .publish(PROVISIONING_REGISTRATION, message)
                .await
                .map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        if let Err(why) = sent {
            tracing::warn!(node = %core.node.identity, file = self.path, why,
                "registration data could not be sent");
        }
    }

    fn message(&mut self, core: &Core, server: &str) -> Result<Option<bytes::Bytes>, String> {
        let node = &core.node;
        let read = node.storage.read_path(&self.path);
        let Some(content) = read.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let modified = node.storage.modified(&self.path);
        let mtime = modified.unwrap_or_else(|| node.started.secs());
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let zipped = gzip.write_all(&content).and_then(|()| gzip.finish());
        let body = FileContent {
            mtime,
            file: &self.path,
            updated: self.last.is_some_and(|last| mtime > last),
            protocol: "choria:registration:filecontent:1",
            zcontent: STANDARD.encode(zipped.map_err(|error| error.to_string())?),
        };
        self.last = Some(mtime);
        let caller = format!("choria={}", node.identity);
        let request = Request {
            id: new_request_id(),
            sender: node.identity.to_string(),
            caller: caller.clone(),
            collective: node.main_collective().to_owned(),
            agent: "registration".to_owned(),
            ttl_secs: 60,
            time: node.clock.unix(),
            filter: Filter::empty(),
            payload: to_go_json(&body).map_err(|error| error.to_string())?.into(),
        };
        let secure = node
            .provisioning
            .as_ref()
            .is_some_and(|token| token.claims.chs);
        let signer: Box<dyn RequestSigner> = match secure {
            true => Box::new(RegistrationSigner { caller }),
            false => Box::new(InsecureSigner { caller }),
        };
        let headers = Headers::from_here(node.identity.as_str(), server, Some(NO_REPLY.to_owned()));
        let encoded = encode_request(&request, signer.as_ref(), &headers);
        encoded.map(Some).map_err(|error| error.to_string())
    }
}
