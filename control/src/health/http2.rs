//! One request over HTTP/2.

use bytes::Bytes;
use h2::client;
use http::{HeaderMap, Request, StatusCode};

use super::body::{Body, Reading, Wanted};
use super::failure::Failure;
use super::probe::{Io, alongside};

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// None behind a body that was not read to its end.
    pub(super) trailers: Option<HeaderMap>,
}

/// Sends `request` with `body` and reads the answer, of its body at most `body_max` bytes.
pub(super) async fn exchange(
    io: Box<dyn Io>,
    request: Request<()>,
    body: Bytes,
    body_max: usize,
) -> Result<Answer, Failure> {
    let broken = |error: h2::Error| Failure::Broken(error.to_string());
    let (sender, connection) = client::Builder::new()
        .enable_push(false)
        .max_header_list_size(FIELDS_BYTES_MAX)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(broken)?;
    let exchange = async move {
        let mut sender = sender.ready().await.map_err(broken)?;
        let (response, mut out) = sender
            .send_request(request, body.is_empty())
            .map_err(broken)?;
        if !body.is_empty() {
            out.send_data(body, true).map_err(broken)?;
        }
        let (head, mut incoming) = response.await.map_err(broken)?.into_parts();
        let answer = |body, trailers| Answer {
            status: head.status,
            headers: head.headers,
            body,
            trailers,
        };
        let mut reading = Reading::up_to(body_max);
        while let Some(piece) = incoming.data().await {
            let piece = piece.map_err(broken)?;
            if reading.take(&piece) == Wanted::Enough {
                return Ok(answer(reading.cut(), None));
            }
            // The window never falls short of what is kept: a failure here is an ended stream.
            let _ = incoming.flow_control().release_capacity(piece.len());
        }
        let trailers = incoming.trailers().await.map_err(broken)?;
        Ok(answer(reading.ended(), trailers))
    };
    alongside(connection, exchange).await
}

/// The longest header list of an answer.
const FIELDS_BYTES_MAX: u32 = 16 << 10;
