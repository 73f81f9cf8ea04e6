//! ACME's exchanges over our own client: bounded in time and size, never redirected, and to the
//! directory's server alone, whatever addresses the directory names.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header::{HeaderValue, USER_AGENT};
use instant_acme::{BodyWrapper, BytesResponse, Error};

use super::problem;
use crate::code::Code;
use crate::hook::HookError;
use crate::hook::http::HttpClient;

/// Our client, as the ACME library wants it.
pub(super) struct Transport(pub(super) HttpClient);

impl instant_acme::HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let answered = exchange(&client, request).await;
            answered.map_err(|error| Error::Other(Box::new(error)))
        })
    }
}

async fn exchange(
    client: &HttpClient,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, HookError> {
    let (mut parts, body) = request.into_parts();
    if !client.target().is_of(&parts.uri) {
        let says = format!(
            "the directory names {}, which is not on the server of `url` in [ca]",
            parts.uri
        );
        return Err(HookError::unsent(Code::CaConfig, says));
    }
    let own = HeaderValue::from_static(concat!("muster/", env!("CARGO_PKG_VERSION")));
    parts.headers.insert(USER_AGENT, own);
    let Ok(body) = body.collect().await;
    let request = Request::from_parts(parts, Full::new(body.to_bytes()));
    let (parts, reply) = client.fetch(request).await?;
    let reply = problem::judged(reply)?;
    Ok(BytesResponse {
        parts,
        body: Box::new(reply.body),
    })
}
