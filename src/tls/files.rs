//! The files that a configuration names: each is read once, bounded, and remembered as one to
//! watch, whether it could be read or not.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _, SectionKind};

/// Files read so far.
#[derive(Default)]
pub struct Files {
    read: HashMap<PathBuf, Result<Arc<Content>, Unreadable>>,
    named: BTreeSet<PathBuf>,
}

/// What stands in a file.
#[derive(Debug)]
pub struct Content {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Who may read it, as `chmod` writes it.
    pub mode: u32,
}

/// SHA-256 of a file's content; none when it could not be read.
pub type Digest = Option<[u8; 32]>;

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Such as "does not exist".
    pub why: String,
    /// What to do.
    pub help: &'static str,
    /// Whether there is nothing at all.
    pub kind: Missing,
}

/// Whether there is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is none.
    Absent,
    /// There is one.
    Present,
}

impl Files {
    /// The content of a file.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn read(&mut self, path: &Path) -> Result<Arc<Content>, Unreadable> {
        if let Some(known) = self.read.get(path) {
            return known.clone();
        }
        self.named.insert(path.to_owned());
        let content = read(path).map(Arc::new);
        self.read.insert(path.to_owned(), content.clone());
        content
    }

    /// The digest of a file's content.
    pub fn digest(&mut self, path: &Path) -> Digest {
        Some(sha256(&self.read(path).ok()?.bytes))
    }

    /// Every file that was asked for.
    pub fn into_named(self) -> impl Iterator<Item = PathBuf> {
        self.named.into_iter()
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

impl Content {
    /// The PEM sections of the kinds that rustls knows; others are passed over.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, pem::Error> {
        <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.bytes).collect()
    }

    /// Whether it is DER where PEM is expected: a SEQUENCE.
    pub fn looks_like_der(&self) -> bool {
        self.bytes.first() == Some(&0x30)
    }

    /// Whether some text stands in it.
    pub fn contains(&self, text: &str) -> bool {
        let windows = &mut self.bytes.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    }
}

fn read(path: &Path) -> Result<Content, Unreadable> {
    let found = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !found.is_file() {
        return Err(Unreadable {
            why: match found.is_dir() {
                true => "is a directory".to_owned(),
                false => "is not a regular file".to_owned(),
            },
            help: "name the file itself",
            kind: Missing::Present,
        });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Unreadable {
            why: "is larger than 64 MiB".to_owned(),
            help: "check that it is the file that is meant",
            kind: Missing::Present,
        });
    }
    Ok(Content {
        bytes,
        mode: found.permissions().mode() & 0o777,
    })
}

fn unreadable(error: &io::Error) -> Unreadable {
    let (why, help) = match error.kind() {
        io::ErrorKind::NotFound => (
            "does not exist".to_owned(),
            "create it, or correct the path; a relative one counts from the directory of the file that names it",
        ),
        io::ErrorKind::PermissionDenied => (
            "may not be read by this user".to_owned(),
            "give the user that Ringgate runs as the right to read it and to enter its directories",
        ),
        _ => (
            format!("cannot be read: {error}"),
            "check the file and its disk",
        ),
    };
    Unreadable {
        why,
        help,
        kind: match error.kind() {
            io::ErrorKind::NotFound => Missing::Absent,
            _ => Missing::Present,
        },
    }
}

/// The largest revocation lists have some tens of megabytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
