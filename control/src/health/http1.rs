//! One GET over HTTP/1.1.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::body::{Body, Reading, Wanted};
use super::failure::Failure;
use super::probe::{Io, alongside};

/// The status of the answer, and its body to the end, or as far as the bound.
pub(super) async fn exchange(
    io: Box<dyn Io>,
    request: Request<Empty<Bytes>>,
    body_max: usize,
) -> Result<(StatusCode, Body), Failure> {
    let broken = |error: hyper::Error| Failure::Broken(error.to_string());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(broken)?;
    let exchange = async move {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let mut reading = Reading::up_to(body_max);
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(broken)?;
            let piece = frame.data_ref().map_or(&[][..], |piece| piece);
            if reading.take(piece) == Wanted::Enough {
                return Ok((response.status(), reading.cut()));
            }
        }
        Ok((response.status(), reading.ended()))
    };
    alongside(connection, exchange).await
}

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
