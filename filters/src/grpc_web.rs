//! gRPC-Web for origins that speak gRPC (PROTOCOL-WEB.md of gRPC): the media types change, the
//! text form's base64 is taken off and put on, and the trailers, which browsers do not show,
//! become the last frame of the body.
//!
//! Other requests pass as they came. Messages pass unread; only their lengths are followed, so
//! that the text form is padded behind a message and never within one.

use ringgate_core::base64::{Decoder, Encoder};
use ringgate_core::block::Block;
use ringgate_core::chain::{Bodies, BodyPhase, BodyVerdict, RequestPhase, ResponsePhase, Verdict};
use ringgate_core::grpc::{self, Kind, Media, Status};
use ringgate_core::http::{BodyLen, Known, ResponseHead, TrailersOk};

use crate::{Filter, Scratch};

/// Translates gRPC-Web to gRPC and back.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcWeb;

/// What it remembers of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    request: Form,
    decoder: Decoder,
    /// How the client wants its answer.
    wanted: Form,
    /// How the answer at hand is written.
    response: Form,
    encoder: Encoder,
    messages: Messages,
    /// The trailers that the response's head already had, as lines.
    early: Vec<u8>,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Not in gRPC-Web: it passes as it is.
    #[default]
    Other,
    /// `application/grpc-web`
    Binary,
    /// `application/grpc-web-text`
    Text,
}

impl Form {
    const fn of(kind: Kind) -> Form {
        match kind {
            Kind::Grpc => Form::Other,
            Kind::Web => Form::Binary,
            Kind::WebText => Form::Text,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Form::Other => Kind::Grpc,
            Form::Binary => Kind::Web,
            Form::Text => Kind::WebText,
        }
    }
}

impl GrpcWeb {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let translation = &mut phase.scratch.grpc_web;
        *translation = Translation::default();
        let head = &mut *phase.head;
        let content_type = head.fields.value(Known::ContentType).and_then(grpc::media);
        let Some(Media { kind, format }) = content_type.filter(|media| media.kind != Kind::Grpc)
        else {
            return Verdict::Continue;
        };
        let own = media_type(Kind::Grpc, format);
        let accepted = head.fields.value(Known::Accept).and_then(grpc::media);
        let accepted = accepted.map(|media| Form::of(media.kind));
        translation.request = Form::of(kind);
        translation.wanted = match accepted {
            None | Some(Form::Other) => translation.request,
            Some(form) => form,
        };
        // A head that is full keeps the type that it has, and its origin refuses it.
        let _ = head.fields.set("content-type", &own);
        head.trailers = TrailersOk::Yes;
        Verdict::Continue
    }

    pub(crate) fn bodies(&self, scratch: &Scratch) -> Bodies {
        match scratch.grpc_web.request {
            Form::Other => Bodies::Unwanted,
            Form::Binary | Form::Text => Bodies::Wanted,
        }
    }

    pub(crate) fn request_body(&self, phase: &mut BodyPhase<'_, Filter>) -> BodyVerdict {
        let Translation {
            request, decoder, ..
        } = &mut phase.scratch.grpc_web;
        if *request != Form::Text {
            return BodyVerdict::Continue;
        }
        let text = &mut phase.core.text;
        text.clear();
        let decoded = decoder.push(phase.piece, text);
        let cut_short = phase.last && !decoder.is_between_groups();
        if decoded.is_err() || cut_short {
            let message = "the body of grpc-web-text is not base64";
            let answer = grpc::trailers_only(Status::InvalidArgument, message, "grpc_web_text");
            return BodyVerdict::Refuse(Box::new(answer));
        }
        replace(phase.piece, text);
        BodyVerdict::Continue
    }

    pub(crate) fn response_head(&self, phase: &mut ResponsePhase<'_, Filter>) -> BodyVerdict {
        let translation = &mut phase.scratch.grpc_web;
        if translation.request == Form::Other {
            return BodyVerdict::Continue;
        }
        // An answer of the gateway may take the place of one that has come this far.
        translation.response = Form::Other;
        translation.encoder = Encoder::default();
        translation.messages = Messages::default();
        translation.early.clear();
        let head = &mut *phase.head;
        let content_type = head.fields.value(Known::ContentType).and_then(grpc::media);
        let Some(Media { format, .. }) = content_type.filter(|media| media.kind == Kind::Grpc)
        else {
            // Whatever it is, it is no answer of gRPC: the client reads its HTTP status.
            return BodyVerdict::Continue;
        };
        let own = media_type(translation.wanted.kind(), format);
        let _ = head.fields.set("content-type", &own);
        // Without a body they stay where they are; clients look for them there too.
        if head.framing != BodyLen::None || !head.fields.has(Known::GrpcStatus) {
            translation.response = translation.wanted;
            head.fields.remove_known(Known::Trailer);
            take_trailers(head, &mut translation.early);
        }
        BodyVerdict::Continue
    }

    pub(crate) fn response_body(&self, phase: &mut BodyPhase<'_, Filter>) -> BodyVerdict {
        let translation = &mut phase.scratch.grpc_web;
        if translation.response == Form::Other {
            return BodyVerdict::Continue;
        }
        let mut frame = std::mem::take(&mut translation.early);
        match phase.last {
            true => end_frame(&mut frame, phase.trailers),
            // They wait for the end.
            false => std::mem::swap(&mut frame, &mut translation.early),
        }
        if translation.response == Form::Binary {
            append(phase.piece, &frame);
            return BodyVerdict::Continue;
        }
        let text = &mut phase.core.text;
        text.clear();
        translation.messages.pass(phase.piece);
        translation.encoder.push(phase.piece, text);
        translation.encoder.push(&frame, text);
        // A message is not kept waiting for the one behind it.
        if phase.last || translation.messages.is_between() {
            translation.encoder.finish(text);
        }
        replace(phase.piece, text);
        BodyVerdict::Continue
    }

    pub(crate) fn describe(&self) -> String {
        "grpc_web: gRPC-Web to gRPC and back".to_owned()
    }
}

fn media_type(kind: Kind, format: &[u8]) -> Vec<u8> {
    [kind.name().as_bytes(), format].concat()
}

/// The fields that are trailers wherever they stand.
const TRAILERS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// Moves the trailers of an answer without messages out of its head.
fn take_trailers(head: &mut ResponseHead, lines: &mut Vec<u8>) {
    for name in TRAILERS {
        if let Some(value) = head.fields.value_of(name) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        head.fields.remove(name);
    }
}

/// Turns lines, with those of `trailers` behind them, into the frame that ends a body: a flag,
/// the length in four bytes, the lines with their names in lower case.
fn end_frame(lines: &mut Vec<u8>, trailers: &mut Vec<u8>) {
    lines.append(trailers);
    let mut has_status = false;
    for line in lines.split_mut(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, _) = line.split_at_mut(colon.unwrap_or_default());
        name.make_ascii_lowercase();
        has_status |= name == b"grpc-status";
    }
    if !has_status {
        let text = Status::Unknown.text();
        let line = format!("grpc-status: {text}\r\ngrpc-message: the origin sent no status\r\n");
        lines.extend_from_slice(line.as_bytes());
    }
    // Trailers are far smaller than four bytes can say.
    let [a, b, c, d] = u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes();
    lines.splice(..0, [END_FLAG, a, b, c, d]);
}

/// The flag of a frame that holds trailers.
const END_FLAG: u8 = 0x80;

/// Puts other bytes in the place of the payload.
fn replace(piece: &mut Block, bytes: &[u8]) {
    match piece.len() + piece.tailroom() >= bytes.len() {
        true => {
            piece.truncate(0);
            append(piece, bytes);
        }
        false => *piece = Block::from_slice(bytes),
    }
}

fn append(piece: &mut Block, bytes: &[u8]) {
    match piece.tailroom() >= bytes.len() {
        true => {
            let _ = piece.append(bytes);
        }
        false => *piece = Block::from_slice(&[piece, bytes].concat()),
    }
}

/// Follows the messages of a body: each is a flag, a length of four bytes, and so many bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Messages {
    prefix: [u8; 5],
    prefix_len: u8,
    left: u32,
}

impl Messages {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = bytes.len().min(self.left as usize);
            self.left -= skipped as u32;
            bytes = &bytes[skipped..];
            let wanted = self.prefix.len() - usize::from(self.prefix_len);
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            for byte in taken {
                self.prefix[usize::from(self.prefix_len)] = *byte;
                self.prefix_len += 1;
            }
            bytes = rest;
            if usize::from(self.prefix_len) == self.prefix.len() {
                let [_flag, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length);
                self.prefix_len = 0;
            }
        }
    }

    fn is_between(&self) -> bool {
        self.prefix_len == 0 && self.left == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
