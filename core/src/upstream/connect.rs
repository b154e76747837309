//! Opening connections to endpoints: the socket, what a balancer in front wants to know, TLS,
//! and the protocol that is agreed on.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::shared::{Opening, Spoken};
use super::{Choice, Keeping, Lease, Pool, Use};
use crate::block::Block;
use crate::client::Ends;
use crate::deadline::Deadline;
use crate::error::Fault;
use crate::http2;
use crate::link::Link;
use crate::proxy_protocol;
use crate::rt::wheel::{Due, Ticks, Timer};
use crate::rt::{Socket, pause};
use crate::snapshot::{Upstream, UpstreamProtocol};
use crate::wire::{Session, TlsError, Wire};

impl Pool {
    /// Opens a link to the chosen endpoint, over a new connection or one that somebody else is
    /// opening.
    ///
    /// # Errors
    /// What kept it from being opened, [`Fault::ConnectTimeout`] among it.
    pub(crate) async fn open(
        &self,
        choice: &Choice,
        spec: &Upstream,
        timeout: Ticks,
        ends: Ends,
    ) -> Result<Lease, Fault> {
        if spec.protocol == UpstreamProtocol::Http1 {
            let wire = Pool::connect(choice, spec, timeout, ends).await?;
            return Ok(fresh(Link::Http1(Rc::new(wire))));
        }
        let (deadline, by) = (Timer::waking(), Deadline::after(timeout));
        deadline.arm(timeout, Due::ShutBoth);
        loop {
            let opening = match self.next(choice, spec) {
                Step::Stream(lease) => return Ok(lease),
                Step::Open(opening) => opening,
                Step::Wait(opening) => {
                    wait_for(&opening, &deadline).await?;
                    continue;
                }
                Step::Full => {
                    // Somebody's stream ends, or the time does.
                    if deadline.take_fired() {
                        return Err(Fault::ConcurrencyLimit);
                    }
                    pause(Ticks(1)).await;
                    continue;
                }
            };
            let begun = opening.begin();
            let wire = Pool::connect(choice, spec, by.within(timeout), ends).await?;
            let speaks = match spec.tls {
                None if spec.protocol == UpstreamProtocol::Auto => Spoken::Http1,
                None => Spoken::Http2,
                Some(_) if wire.speaks_http2() => Spoken::Http2,
                Some(_) if spec.protocol == UpstreamProtocol::Auto => Spoken::Http1,
                Some(_) => return Err(Fault::OriginProtocol),
            };
            opening.learn(speaks);
            if speaks == Spoken::Http1 {
                return Ok(fresh(Link::Http1(Rc::new(wire))));
            }
            let begin = http2::connect(wire, &spec.http2, spec.read_timeout, &deadline);
            let shared = begin.await.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => Fault::ConnectTimeout,
                _ => Fault::OriginProtocol,
            })?;
            let stream = shared.stream();
            if self.keeping.get() == Keeping::Yes
                && let Some(slot) = self.state.borrow_mut().slot_of(choice)
            {
                slot.shared.add(shared);
            }
            drop(begun);
            return Ok(fresh(Link::Http2(Box::new(stream))));
        }
    }

    fn next(&self, choice: &Choice, spec: &Upstream) -> Step {
        let mut state = self.state.borrow_mut();
        let Some(slot) = state.slot_of(choice) else {
            // The endpoint has gone meanwhile: a connection of its own for this request.
            return Step::Open(Rc::default());
        };
        if let Some(shared) = slot.shared.with_room(&spec.http2) {
            let link = Link::Http2(Box::new(shared.stream()));
            let use_count = Use::Reused;
            return Step::Stream(Lease { link, use_count });
        }
        let opening = Rc::clone(&slot.shared.opening);
        let under_way = opening.under_way();
        let most = spec.http2.connections_max as usize;
        match (opening.spoken(), under_way) {
            // Nobody can share a connection of HTTP/1.
            (Some(Spoken::Http1), _) => Step::Open(opening),
            (_, 1..) => Step::Wait(opening),
            (_, 0) if slot.shared.len() < most => Step::Open(opening),
            (_, 0) => Step::Full,
        }
    }

    /// Opens a connection to the chosen endpoint.
    ///
    /// # Errors
    /// [`Fault::ConnectTimeout`], [`Fault::ConnectFailed`], and those of TLS.
    pub(crate) async fn connect(
        choice: &Choice,
        spec: &Upstream,
        timeout: Ticks,
        ends: Ends,
    ) -> Result<Wire, Fault> {
        let stats = spec.stats.of(choice.core);
        let connected = connect(choice, spec, timeout, ends).await;
        match connected {
            Ok(_) => stats.connects.add(1),
            Err(_) => stats.connect_failures.add(1),
        }
        connected
    }
}

/// What a request does that found no stream.
enum Step {
    Stream(Lease),
    Open(Rc<Opening>),
    Wait(Rc<Opening>),
    /// There are as many connections as there may be, and all are busy.
    Full,
}

fn fresh(link: Link) -> Lease {
    let use_count = Use::Fresh;
    Lease { link, use_count }
}

async fn wait_for(opening: &Opening, deadline: &Timer) -> Result<(), Fault> {
    let mut waited = false;
    poll_fn(|cx| {
        if deadline.take_fired() {
            return Poll::Ready(Err(Fault::ConnectTimeout));
        }
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(Ok(()));
        }
        opening.wait(cx.waker());
        deadline.wakes(cx.waker());
        Poll::Pending
    })
    .await
}

async fn connect(
    choice: &Choice,
    spec: &Upstream,
    timeout: Ticks,
    ends: Ends,
) -> Result<Wire, Fault> {
    let by = Deadline::after(timeout);
    let socket = Socket::connect(&choice.endpoint.addr, timeout).await;
    let wire = Wire::plain(socket.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::ConnectFailed,
    })?);
    if let Some(version) = spec.proxy {
        let mut header = Vec::new();
        proxy_protocol::write(version, ends.source, ends.destination, &mut header);
        let sent = wire.send(Block::from_slice(&header), || by.within(timeout));
        let sent = sent.await;
        sent.map_err(|_| Fault::OriginClosed)?;
    }
    let Some(tls) = &spec.tls else {
        return Ok(wire);
    };
    let name = tls.name.as_ref().or(choice.endpoint.server_name.as_ref());
    // Without a name there is nothing that a certificate could prove.
    let name = name.ok_or(Fault::OriginUntrusted)?;
    let session = Session::client(tls, name.clone()).map_err(|_| Fault::OriginTls)?;
    let shaken = wire.shake(session, Block::empty(), by.within(timeout));
    let shaken = shaken.await;
    shaken.map_err(|error| match TlsError::of(&error) {
        Some(error) if error.is_untrusted() => Fault::OriginUntrusted,
        Some(error) if error.is_other_protocol() => Fault::OriginProtocol,
        _ if error.kind() == io::ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::OriginTls,
    })?;
    Ok(wire)
}
