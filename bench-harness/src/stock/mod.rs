//! `ringgate-bench stock`: a reverse proxy on monoio-http, written as its examples are, with
//! keep-alive on both sides and no features: what the stock codec costs.
//!
//! It is measured beside the gateway and fit for nothing else: the codec takes requests that a
//! proxy must refuse, and buffers bodies whole. Here alone, outside the gateway's runtime
//! boundary, monoio is named.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread;

use clap::Args;
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::{StatusCode, Version};
use monoio::RuntimeBuilder;
use monoio::io::sink::{Sink, SinkExt};
use monoio::io::stream::Stream;
use monoio::io::{OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio_http::common::error::HttpError;
use monoio_http::common::request::Request;
use monoio_http::h1::codec::ClientCodec;
use monoio_http::h1::codec::decoder::{FillPayload, RequestDecoder};
use monoio_http::h1::codec::encoder::GenericEncoder;
use monoio_http::h1::payload::{FixedPayload, Payload};
use ringgate_core::rt::{self, Driver};

use crate::Ended;
use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::wire::serve::{self, DriverChoice};

/// Options of `stock`.
#[derive(Debug, Args)]
pub struct Command {
    /// Where it accepts; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The origin.
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
    /// The core to run on; without it the kernel chooses.
    #[arg(long, value_name = "LIST")]
    cores: Option<Cores>,
    /// How it waits for the kernel.
    #[arg(long, value_enum, default_value_t)]
    driver: DriverChoice,
}

impl Command {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn run(&self) -> Result<Ended> {
        // Two descriptors a connection; what the limit is shows when it is hit.
        let _ = rt::raise_descriptor_limit();
        let core = serve::core_of(self.cores.as_ref(), 0);
        let address = start(self.listen, self.to, core, self.driver)?;
        serve::until_stopped(address)
    }
}

/// Starts the proxy on a thread of its own.
fn start(
    listen: SocketAddr,
    to: SocketAddr,
    core: Option<usize>,
    driver: DriverChoice,
) -> Result<SocketAddr> {
    let driver = driver.driver()?;
    let (address, mut listeners) = serve::listen(listen, 1)?;
    let Some(listener) = listeners.pop() else {
        return Err(Fault::Setup("nothing to listen on".to_owned()));
    };
    let body = move || {
        let ran = core.map_or(Ok(()), rt::pin_to);
        match ran.and_then(|()| run(driver, listener, to)) {
            Ok(()) => {}
            Err(error) => {
                crate::output::complain(&format!("ringgate-bench: stock has ended: {error}"));
                std::process::exit(1);
            }
        }
    };
    thread::Builder::new()
        .name("stock".to_owned())
        .spawn(body)
        .map_err(|error| Fault::io("start the thread stock", &error))?;
    Ok(address)
}

/// The same ring as the gateway's workers have (`ring_builder` in core/src/rt/mod.rs).
fn run(driver: Driver, listener: OwnedFd, to: SocketAddr) -> io::Result<()> {
    match driver {
        Driver::IoUring => RuntimeBuilder::<monoio::IoUringDriver>::new()
            .with_entries(RING_ENTRIES)
            .uring_builder(ring_builder()?)
            .build()?
            .block_on(accept_all(listener, to, driver)),
        Driver::Epoll => RuntimeBuilder::<monoio::LegacyDriver>::new()
            .with_entries(RING_ENTRIES)
            .build()?
            .block_on(accept_all(listener, to, driver)),
    }
}

fn ring_builder() -> io::Result<io_uring::Builder> {
    let plain = || {
        let mut builder = io_uring::IoUring::builder();
        builder.setup_cqsize(4 * RING_ENTRIES);
        builder
    };
    let mut deferred = plain();
    deferred.setup_single_issuer().setup_defer_taskrun();
    let mut single = plain();
    single.setup_single_issuer().setup_coop_taskrun();
    let mut cooperative = plain();
    cooperative.setup_coop_taskrun();
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for builder in [deferred, single, cooperative] {
        match builder.build(8) {
            Ok(_) => return Ok(builder),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

const RING_ENTRIES: u32 = 4096;

async fn accept_all(listener: OwnedFd, to: SocketAddr, driver: Driver) -> io::Result<()> {
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(driver == Driver::Epoll)?;
    let listener = TcpListener::from_std(listener)?;
    let proxy = Rc::new(Proxy {
        to,
        idle: RefCell::default(),
    });
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let proxy = Rc::clone(&proxy);
                // What goes wrong on a connection ends it, and nothing else.
                monoio::spawn(async move {
                    let _ = serve_client(client, &proxy).await;
                });
            }
            // Out of descriptors: trying again at once would only spin.
            Err(_) => thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}

type Origin = ClientCodec<TcpStream>;

struct Proxy {
    to: SocketAddr,
    /// Connections to the origin that wait for a request, the last one used on top.
    idle: RefCell<Vec<Origin>>,
}

/// Whether a connection takes another message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    Stays,
    Closes,
}

async fn serve_client(client: TcpStream, proxy: &Proxy) -> std::result::Result<(), HttpError> {
    let (reading, writing) = client.into_split();
    let mut decoder = RequestDecoder::new(reading);
    let mut encoder = GenericEncoder::new(writing);
    while let Some(request) = decoder.next().await {
        let request = request?;
        let connection = connection_of(request.version(), request.headers());
        exchange(request, proxy, &mut decoder, &mut encoder, connection).await?;
        if connection == Connection::Closes {
            break;
        }
    }
    Sink::<http::Response<Payload>>::close(&mut encoder).await
}

async fn exchange(
    mut request: Request,
    proxy: &Proxy,
    decoder: &mut RequestDecoder<OwnedReadHalf<TcpStream>>,
    encoder: &mut GenericEncoder<OwnedWriteHalf<TcpStream>>,
    connection: Connection,
) -> std::result::Result<(), HttpError> {
    let Ok(mut origin) = proxy.lease().await else {
        return encoder.send_and_flush(unreachable_origin()).await;
    };
    request.headers_mut().remove(CONNECTION);
    *request.version_mut() = Version::HTTP_11;
    // The request's body comes through a channel that the decoder fills.
    let (sent, filled) = rt::join(origin.send_and_flush(request), decoder.fill_payload()).await;
    sent?;
    filled?;
    let Some(response) = origin.next().await else {
        return encoder.send_and_flush(unreachable_origin()).await;
    };
    let mut response = response?;
    let after = connection_of(response.version(), response.headers());
    response.headers_mut().remove(CONNECTION);
    if connection == Connection::Closes {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let response = response.map(|body| body.with_io(&mut origin));
    encoder.send_and_flush(response).await?;
    if after == Connection::Stays {
        proxy.idle.borrow_mut().push(origin);
    }
    Ok(())
}

impl Proxy {
    async fn lease(&self) -> io::Result<Origin> {
        let idle = self.idle.borrow_mut().pop();
        if let Some(origin) = idle {
            return Ok(origin);
        }
        let stream = TcpStream::connect_addr(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(ClientCodec::new(stream))
    }
}

fn connection_of(version: Version, headers: &HeaderMap) -> Connection {
    let says = |word: &str| {
        let value = headers.get(CONNECTION).map(HeaderValue::as_bytes);
        value.is_some_and(|value| value.eq_ignore_ascii_case(word.as_bytes()))
    };
    match says("close") || (version == Version::HTTP_10 && !says("keep-alive")) {
        true => Connection::Closes,
        false => Connection::Stays,
    }
}

fn unreachable_origin() -> http::Response<Payload> {
    let body = bytes::Bytes::from_static(b"the origin cannot be reached\n");
    let mut response = http::Response::new(Payload::Fixed(FixedPayload::new(body)));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
