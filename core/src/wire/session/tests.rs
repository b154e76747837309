//! Client against server in memory.

use super::*;
use crate::wire::tests::fixtures::{Certificate, Tickets, client_session};
use rustls::AlertDescription;

/// How the bytes between the two are cut into receives.
#[derive(Clone, Copy)]
enum Cut {
    Whole,
    Bytes,
}

/// Everything that `from` has to send.
fn sent(from: &mut Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(records) = from.outgoing() {
        assert!(!records.is_empty());
        bytes.extend_from_slice(&records);
    }
    assert!(!from.wants_send());
    bytes
}

/// Gives bytes to a session; what it decrypts.
fn given(to: &mut Session, bytes: &[u8], cut: Cut) -> Result<Vec<u8>, TlsError> {
    let pieces = bytes.chunks(match cut {
        Cut::Whole => bytes.len().max(1),
        Cut::Bytes => 1,
    });
    let mut plain = Vec::new();
    for piece in pieces {
        let mut received = Block::from_slice(piece);
        to.shake(&mut received)?;
        while !received.is_empty() {
            let mut opened = Block::new(BlockClass::Small);
            to.open(&mut received, &mut opened)?;
            plain.extend_from_slice(&opened);
        }
        // What one call had no room for.
        loop {
            let mut opened = Block::new(BlockClass::Small);
            to.open(&mut Block::empty(), &mut opened)?;
            if opened.is_empty() {
                break;
            }
            plain.extend_from_slice(&opened);
        }
    }
    Ok(plain)
}

/// Sends both ways until neither has anything to say.
fn shake(client: &mut Session, server: &mut Session, cut: Cut) -> Result<(), TlsError> {
    loop {
        let (up, down) = (sent(client), sent(server));
        if up.is_empty() && down.is_empty() {
            return Ok(());
        }
        given(server, &up, cut)?;
        given(client, &down, cut)?;
    }
}

fn pair(client: &ClientTls, server: &ServerTls) -> (Session, Session) {
    (client_session(client), Session::server(server).unwrap())
}

fn shaken(cut: Cut) -> (Session, Session) {
    let certificate = Certificate::new();
    let server = certificate.server(&["h2", "http/1.1"], Tickets::No);
    let client = certificate.client(&["http/1.1"], Tickets::No);
    let (mut client, mut server) = pair(&client, &server);
    shake(&mut client, &mut server, cut).unwrap();
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client, server)
}

#[test]
fn bytes_pass_both_ways_whatever_the_receives() {
    for cut in [Cut::Whole, Cut::Bytes] {
        let (mut client, mut server) = shaken(cut);
        let bytes: Vec<u8> = (0..70_000u32).map(|at| (at % 251) as u8).collect();
        client.seal(&bytes).unwrap();
        assert!(given(&mut server, &sent(&mut client), cut).unwrap() == bytes);
        server.seal(b"answer").unwrap();
        let answer = given(&mut client, &sent(&mut server), cut).unwrap();
        assert_eq!(answer, b"answer");
    }
}

#[test]
fn all_records_of_a_flush_are_one_block() {
    let (mut client, _server) = shaken(Cut::Whole);
    client.seal(&[7; 7 * RECORD_PLAINTEXT_MAX]).unwrap();
    let records = client.outgoing().unwrap();
    assert!(records.len() > 7 * RECORD_PLAINTEXT_MAX);
    assert!(client.outgoing().is_none());
    client.seal(b"few").unwrap();
    let records = client.outgoing().unwrap();
    assert_eq!(records.capacity(), BlockClass::Head.size());
}

#[test]
fn decrypted_bytes_wait_for_room() {
    let (mut client, mut server) = shaken(Cut::Whole);
    client.seal(&[1; 5000]).unwrap();
    let mut received = client.outgoing().unwrap();
    let mut total = 0;
    loop {
        let mut plain = Block::new(BlockClass::Head);
        server.open(&mut received, &mut plain).unwrap();
        if plain.is_empty() {
            break;
        }
        total += plain.len();
    }
    assert_eq!(total, 5000);
}

#[test]
fn only_close_notify_ends_a_stream() {
    let (mut client, mut server) = shaken(Cut::Whole);
    client.seal(b"last").unwrap();
    assert_eq!(
        given(&mut server, &sent(&mut client), Cut::Whole).unwrap(),
        b"last"
    );
    assert!(!server.has_ended());
    client.say_close();
    let word = sent(&mut client);
    assert!(!word.is_empty());
    given(&mut server, &word, Cut::Bytes).unwrap();
    assert!(server.has_ended());
    // The other direction goes on.
    server.seal(b"answer").unwrap();
    assert_eq!(
        given(&mut client, &sent(&mut server), Cut::Whole).unwrap(),
        b"answer"
    );
}

#[test]
fn what_comes_behind_close_notify_does_not_count() {
    let (mut client, mut server) = shaken(Cut::Whole);
    client.say_close();
    let mut bytes = sent(&mut client);
    bytes.extend_from_slice(b"garbage");
    assert_eq!(given(&mut server, &bytes, Cut::Whole).unwrap(), b"");
    assert!(server.has_ended());
}

#[test]
fn a_changed_record_is_an_error_and_the_peer_is_told() {
    let (mut client, mut server) = shaken(Cut::Whole);
    client.seal(b"hello").unwrap();
    let mut bytes = sent(&mut client);
    *bytes.last_mut().unwrap() ^= 1;
    let error = given(&mut server, &bytes, Cut::Whole).unwrap_err();
    assert_eq!(error, TlsError::Protocol(rustls::Error::DecryptError));
    let alert = sent(&mut server);
    assert_eq!(
        given(&mut client, &alert, Cut::Whole).unwrap_err(),
        TlsError::Protocol(rustls::Error::AlertReceived(AlertDescription::BadRecordMac))
    );
}

#[test]
fn what_is_no_tls_is_an_error() {
    let certificate = Certificate::new();
    let mut server = Session::server(&certificate.server(&[], Tickets::No)).unwrap();
    let plain = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(matches!(
        given(&mut server, plain, Cut::Whole),
        Err(TlsError::Protocol(rustls::Error::InvalidMessage(_)))
    ));
}

#[test]
fn protocols_are_agreed_on() {
    let (client, server) = shaken(Cut::Whole);
    assert_eq!(
        (client.alpn(), server.alpn()),
        (Some(&b"http/1.1"[..]), Some(&b"http/1.1"[..]))
    );
}

#[test]
fn a_protocol_that_the_server_does_not_speak_is_refused() {
    let certificate = Certificate::new();
    let server = certificate.server(&["http/1.1"], Tickets::No);
    let (mut client, mut server) = pair(&certificate.client(&["h2"], Tickets::No), &server);
    assert_eq!(
        shake(&mut client, &mut server, Cut::Whole),
        Err(TlsError::Protocol(rustls::Error::NoApplicationProtocol))
    );
}

#[test]
fn a_server_without_protocols_agrees_on_none() {
    let certificate = Certificate::new();
    let server = certificate.server(&[], Tickets::No);
    let (mut client, mut server) = pair(&certificate.client(&["h2"], Tickets::No), &server);
    shake(&mut client, &mut server, Cut::Whole).unwrap();
    assert_eq!((client.alpn(), server.alpn()), (None, None));
}

#[test]
fn sessions_are_resumed_where_both_sides_want_it() {
    let certificate = Certificate::new();
    for (of_client, of_server, second) in [
        (Tickets::Yes, Tickets::Yes, Resumed::Yes),
        (Tickets::No, Tickets::Yes, Resumed::No),
        (Tickets::Yes, Tickets::No, Resumed::No),
    ] {
        let client = certificate.client(&["http/1.1"], of_client);
        let server = certificate.server(&["http/1.1"], of_server);
        let expected = [Resumed::No, second];
        for resumed in expected {
            let (mut client, mut server) = pair(&client, &server);
            shake(&mut client, &mut server, Cut::Whole).unwrap();
            let both = (client.resumed(), server.resumed());
            assert_eq!(both, (Some(resumed), Some(resumed)));
        }
    }
}
