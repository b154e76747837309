//! One GET over HTTP/1.1.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::failure::Failure;
use super::probe::{Io, alongside};

/// The status of the answer. Its body is read to the end, or as far as the bound.
pub(super) async fn status(
    io: Box<dyn Io>,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, Failure> {
    let broken = |error: hyper::Error| Failure::Broken(error.to_string());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(broken)?;
    let exchange = async move {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let mut left = BODY_BYTES_MAX;
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(broken)?;
            let length = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
        Ok(response.status())
    };
    alongside(connection, exchange).await
}

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What is read of a body. One that goes on is judged by its status.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
