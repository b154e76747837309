//! `ringgate key`

use std::io::Read;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use clap::{Args, Subcommand};
use ringgate_core::base64::Encoder;

use super::Exit;
use super::print::{complain, say};

#[derive(Debug, Args)]
pub struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes an API key, and prints it once with the line to paste into the configuration.
    New(New),
    /// Reads a key from standard input and prints its digest.
    Digest,
}

#[derive(Debug, Args)]
struct New {
    /// The consumer: prints a whole `[[consumer]]` to paste
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// When the key ends, such as 2027-01-31T23:59:59Z
    #[arg(long, value_name = "MOMENT")]
    expires: Option<String>,
    /// When the key begins, likewise
    #[arg(long, value_name = "MOMENT")]
    not_before: Option<String>,
}

impl Key {
    pub fn execute(self) -> Exit {
        match self.action {
            Action::New(new) => new.execute(),
            Action::Digest => digest_of_input(),
        }
    }
}

impl New {
    fn execute(self) -> Exit {
        for moment in [&self.expires, &self.not_before].into_iter().flatten() {
            if !ringgate_config::is_moment(moment) {
                complain(&format!(
                    "{moment:?} is no moment\nhelp: write it as 2027-01-31T23:59:59Z"
                ));
                return Exit::Failed;
            }
        }
        let Ok(key) = key() else {
            complain("no random bytes can be had from the system");
            return Exit::Failed;
        };
        // Words for people are on standard error, so that the rest can go into a file.
        complain("The key, which is shown this once:");
        say(&key);
        complain("\nFor the configuration, which never holds the key itself:");
        say(&self.lines(&digest_of(key.as_bytes())));
        Exit::Fine
    }

    /// What is to be pasted.
    fn lines(&self, digest: &str) -> String {
        let mut entry = format!("digest = \"{digest}\"");
        for (name, moment) in [("not_before", &self.not_before), ("expires", &self.expires)] {
            if let Some(moment) = moment {
                entry.push_str(&format!(", {name} = \"{moment}\""));
            }
        }
        let entry = match self.expires.is_some() || self.not_before.is_some() {
            true => format!("{{ {entry} }}"),
            false => format!("\"{digest}\""),
        };
        match &self.consumer {
            Some(name) => format!("[[consumer]]\nname = {name:?}\napi_keys = [{entry}]"),
            None => format!("api_keys = [{entry}]"),
        }
    }
}

/// 256 bits that nobody can guess, behind a mark by which scanners of sources know a key.
fn key() -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(format!("rg_{}", base64url(&bytes)))
}

/// RFC 4648, 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    let (mut encoder, mut text) = (Encoder::default(), Vec::new());
    encoder.push(bytes, &mut text);
    encoder.finish(&mut text);
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_end_matches('=').replace('+', "-");
    text.replace('/', "_")
}

fn digest_of(key: &[u8]) -> String {
    let digest = digest(&SHA256, key);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

fn digest_of_input() -> Exit {
    let mut text = Vec::new();
    let read = std::io::stdin()
        .lock()
        .take(KEY_BYTES_MAX + 2)
        .read_to_end(&mut text);
    if let Err(error) = read {
        complain(&format!("standard input cannot be read: {error}"));
        return Exit::Failed;
    }
    let key = text.trim_ascii();
    let is_key =
        (1..=KEY_BYTES_MAX).contains(&(key.len() as u64)) && key.iter().all(u8::is_ascii_graphic);
    if !is_key {
        complain("a key is one line of 1 to 512 visible ASCII characters");
        return Exit::Failed;
    }
    say(&digest_of(key));
    Exit::Fine
}

/// As filters have it.
const KEY_BYTES_MAX: u64 = 512;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_text_and_differ() {
        let (one, two) = (key().unwrap(), key().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 3 + 43);
        assert!(one.starts_with("rg_"));
        // RFC 4648, 10, in the other alphabet.
        assert_eq!(base64url(b"foob"), "Zm9vYg");
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn what_is_printed_can_be_pasted() {
        let mut new = New {
            consumer: None,
            expires: None,
            not_before: None,
        };
        let digest = digest_of(b"abc");
        assert!(digest.starts_with("sha256:ba7816bf"));
        assert_eq!(new.lines("d"), "api_keys = [\"d\"]");
        new.consumer = Some("app".to_owned());
        new.expires = Some("2027-01-01T00:00:00Z".to_owned());
        assert_eq!(
            new.lines("d"),
            "[[consumer]]\nname = \"app\"\napi_keys = [{ digest = \"d\", expires = \"2027-01-01T00:00:00Z\" }]"
        );
    }
}
