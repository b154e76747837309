//! The directory on disk: `<storage>/<first name>/{cert.pem,key.pem}` and one file per account.
//! A file is written and synced beside its place and then renamed into it, so that a reader
//! finds the old one or the new one. Secrets are for their owner alone.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Names;
use super::certificate::Leaf;
use super::failure::{Failure, FailureKind};

/// The directory of one configuration.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    root: PathBuf,
}

/// A certificate as it lies in storage, with its key proved to be its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) leaf: Leaf,
    /// URL of the directory that it comes from; none for one that was put there by hand.
    pub(super) directory: Option<String>,
    /// Whether it was there before this look.
    pub(super) found: Found,
}

/// Whether a certificate was there before it was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It was, so that others who looked saw it too.
    InPlace,
    /// A process that ended left it half in place, and this look finished that.
    Finished,
}

/// Whether this process may write.
#[derive(Debug)]
pub(super) enum Turn {
    /// It may until this is dropped.
    Ours(#[allow(dead_code, reason = "held for the lock that ends with it")] File),
    /// Another process orders into the same directory.
    Anothers,
}

impl Storage {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Makes the directory where it is missing and takes its lock: two gateways may share it.
    pub(super) fn take_turn(&self) -> Result<Turn, Failure> {
        self.try_take_turn()
            .map_err(|error| self.failed(&self.root, "cannot be written", &error))
    }

    fn try_take_turn(&self) -> io::Result<Turn> {
        make_directory(&self.root)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(SECRET)
            .open(self.root.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Turn::Ours(lock)),
            Err(TryLockError::WouldBlock) => Ok(Turn::Anothers),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The certificate of `names`, if there is a whole one. What is broken, holds for other
    /// names or does not fit its key is as good as none: a new one takes its place.
    pub(super) fn certificate(&self, names: &Names) -> Result<Option<Kept>, Failure> {
        let place = self.place(names);
        let (chain, key) = (place.join(CERTIFICATE), place.join(KEY));
        let (Some(chain), Some(key)) = (self.read(&chain)?, self.read(&key)?) else {
            return Ok(None);
        };
        let whole = Leaf::of(&chain).ok().filter(|leaf| leaf.belongs_to(&key));
        let (leaf, found) = match whole {
            Some(leaf) => (Some(leaf), Found::InPlace),
            None => (self.finish(&place, &key)?, Found::Finished),
        };
        let Some(leaf) = leaf.filter(|leaf| leaf.covers(names.all())) else {
            return Ok(None);
        };
        let origin = self.read(&place.join(ORIGIN))?;
        let origin = origin.and_then(|text| serde_json::from_str::<Origin>(&text).ok());
        Ok(Some(Kept {
            leaf,
            directory: origin.map(|origin| origin.directory),
            found,
        }))
    }

    /// A process that ended between the two renames left the new key beside the old
    /// certificate, and the new certificate ready.
    fn finish(&self, place: &Path, key: &str) -> Result<Option<Leaf>, Failure> {
        let path = place.join(CERTIFICATE);
        let ready = beside(&path);
        let leaf = self
            .read(&ready)?
            .and_then(|chain| Leaf::of(&chain).ok())
            .filter(|leaf| leaf.belongs_to(key));
        if leaf.is_some() {
            put(&ready, &path).map_err(|error| self.failed(&path, "cannot be written", &error))?;
        }
        Ok(leaf)
    }

    /// Puts a certificate and its key, both in PEM, in the place of what was there.
    pub(super) fn keep(
        &self,
        names: &Names,
        chain: &str,
        key: &str,
        directory: &str,
    ) -> Result<(), Failure> {
        let place = self.place(names);
        let origin = Origin {
            directory: directory.to_owned(),
        };
        // Strings as JSON cannot fail.
        let origin = serde_json::to_string(&origin).unwrap_or_default();
        let written = || {
            make_directory(&place)?;
            let (key_path, chain_path) = (place.join(KEY), place.join(CERTIFICATE));
            let fresh_key = write_beside(&key_path, key, SECRET)?;
            let fresh_chain = write_beside(&chain_path, chain, PUBLIC)?;
            // One right after the other: who reads meanwhile finds a key without its certificate.
            fs::rename(&fresh_key, &key_path)?;
            put(&fresh_chain, &chain_path)?;
            replace(&place.join(ORIGIN), &origin, PUBLIC)
        };
        written().map_err(|error: io::Error| self.failed(&place, "cannot be written", &error))
    }

    /// What was kept of the account at `directory`.
    pub(super) fn account(&self, directory: &str) -> Result<Option<String>, Failure> {
        self.read(&self.account_path(directory))
    }

    /// Keeps the account at `directory`: its key is in it.
    pub(super) fn keep_account(&self, directory: &str, account: &str) -> Result<(), Failure> {
        let path = self.account_path(directory);
        make_directory(&self.root)
            .and_then(|()| replace(&path, account, SECRET))
            .map_err(|error| self.failed(&path, "cannot be written", &error))
    }

    /// Keeps an account that the authority does not know out of the way, for whoever wants to
    /// know what it was. No account is no error.
    pub(super) fn set_account_aside(&self, directory: &str) -> Result<(), Failure> {
        let path = self.account_path(directory);
        match fs::rename(&path, path.with_extension("json.unknown")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(&path, "cannot be renamed", &error))
            }
            _ => Ok(()),
        }
    }

    /// Host names have no underscore, so an account's file is no certificate's directory.
    fn account_path(&self, directory: &str) -> PathBuf {
        let plain: String = directory
            .trim_start_matches("https://")
            .chars()
            .take(ACCOUNT_NAME_MAX)
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
                _ => '_',
            })
            .collect();
        self.root.join(format!("account_{plain}.json"))
    }

    fn place(&self, names: &Names) -> PathBuf {
        self.root.join(names.first())
    }

    fn read(&self, path: &Path) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        match read {
            Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Ok(None),
            Ok(_) => Ok(Some(text)),
            // Not UTF-8 is as broken as not PEM.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(path, "cannot be read", &error)),
        }
    }

    fn failed(&self, path: &Path, what: &str, error: &dyn fmt::Display) -> Failure {
        let text = format!(
            "{} {what}: {error}; acme.storage must be a directory that the gateway's user may write",
            path.display()
        );
        Failure::new(FailureKind::Storage, text)
    }
}

/// Beside a certificate: where it comes from, so that another `acme.directory` orders anew.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    directory: String,
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let fresh = write_beside(path, text, mode)?;
    put(&fresh, path)
}

/// Where a file is written before it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn write_beside(path: &Path, text: &str, mode: u32) -> io::Result<PathBuf> {
    let fresh = beside(path);
    // What a process left that ended here may be open to others, or no file at all.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(fresh)
}

fn put(fresh: &Path, path: &Path) -> io::Result<()> {
    fs::rename(fresh, path)?;
    // The rename itself must survive a power cut.
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const ORIGIN: &str = "origin.json";
/// No host name has an underscore, so it is in no certificate's way.
const LOCK: &str = "_lock";
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// More is no chain of ours.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A file name has 255 bytes at most.
const ACCOUNT_NAME_MAX: usize = 200;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::super::certificate::tests::issued;
    use super::*;

    const DIRECTORY: &str = "https://acme.example/dir";

    fn storage() -> (TempDir, Storage) {
        let scratch = tempfile::tempdir().unwrap();
        let storage = Storage::new(&scratch.path().join("a/b"));
        (scratch, storage)
    }

    fn names(names: &[&str]) -> Names {
        Names::new(names).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_certificate_is_found_again_with_where_it_is_from() {
        let (_scratch, storage) = storage();
        let wanted = names(&["a.example", "b.example"]);
        assert_eq!(storage.certificate(&wanted).unwrap(), None);
        let (chain, key) = issued(&["b.example", "a.example"], 2026, 2027);
        storage.keep(&wanted, &chain, &key, DIRECTORY).unwrap();
        let kept = storage.certificate(&wanted).unwrap().unwrap();
        assert_eq!(kept.leaf, Leaf::of(&chain).unwrap());
        assert_eq!(kept.directory.as_deref(), Some(DIRECTORY));
        assert_eq!(kept.found, Found::InPlace);
        let more = names(&["a.example", "c.example"]);
        assert_eq!(storage.certificate(&more).unwrap(), None);
    }

    #[test]
    fn secrets_are_for_their_owner() {
        let (_scratch, storage) = storage();
        let wanted = names(&["a.example"]);
        let (chain, key) = issued(&["a.example"], 2026, 2027);
        // A leftover of a process that ended here, open to everybody.
        let place = storage.place(&wanted);
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(beside(&place.join(KEY)), "old").unwrap();
        storage.keep(&wanted, &chain, &key, DIRECTORY).unwrap();
        storage.keep_account(DIRECTORY, "{}").unwrap();
        assert_eq!(mode(&place.join(KEY)), 0o600);
        assert_eq!(mode(&storage.account_path(DIRECTORY)), 0o600);
        let other = tempfile::tempdir().unwrap();
        let fresh = Storage::new(&other.path().join("a/b"));
        fresh.keep(&wanted, &chain, &key, DIRECTORY).unwrap();
        assert_eq!(mode(&fresh.root), 0o700);
        assert_eq!(mode(&fresh.place(&wanted)), 0o700);
    }

    #[test]
    fn a_key_of_another_certificate_is_as_good_as_none() {
        let (_scratch, storage) = storage();
        let wanted = names(&["a.example"]);
        let (chain, key) = issued(&["a.example"], 2026, 2027);
        storage.keep(&wanted, &chain, &key, DIRECTORY).unwrap();
        let (_, other) = issued(&["a.example"], 2026, 2027);
        fs::write(storage.place(&wanted).join(KEY), other).unwrap();
        assert_eq!(storage.certificate(&wanted).unwrap(), None);
        fs::write(storage.place(&wanted).join(KEY), [0xff, 0]).unwrap();
        assert_eq!(storage.certificate(&wanted).unwrap(), None);
    }

    #[test]
    fn a_swap_that_was_cut_short_is_finished() {
        let (_scratch, storage) = storage();
        let wanted = names(&["a.example"]);
        let (old, old_key) = issued(&["a.example"], 2026, 2027);
        storage.keep(&wanted, &old, &old_key, DIRECTORY).unwrap();
        let (chain, key) = issued(&["a.example"], 2027, 2028);
        let place = storage.place(&wanted);
        // The key was renamed, the certificate was not yet.
        fs::write(place.join(KEY), &key).unwrap();
        fs::write(beside(&place.join(CERTIFICATE)), &chain).unwrap();
        let kept = storage.certificate(&wanted).unwrap().unwrap();
        assert_eq!(kept.leaf, Leaf::of(&chain).unwrap());
        assert_eq!(kept.found, Found::Finished);
        assert_eq!(fs::read_to_string(place.join(CERTIFICATE)).unwrap(), chain);
    }

    #[test]
    fn accounts_of_two_authorities_lie_side_by_side() {
        let (_scratch, storage) = storage();
        assert_eq!(storage.account(DIRECTORY).unwrap(), None);
        storage.keep_account(DIRECTORY, "one").unwrap();
        storage
            .keep_account("https://other.example/dir/../x", "two")
            .unwrap();
        assert_eq!(storage.account(DIRECTORY).unwrap().unwrap(), "one");
        storage.set_account_aside(DIRECTORY).unwrap();
        storage.set_account_aside(DIRECTORY).unwrap();
        assert_eq!(storage.account(DIRECTORY).unwrap(), None);
        let other = storage.account("https://other.example/dir/../x");
        assert_eq!(other.unwrap().unwrap(), "two");
    }

    #[test]
    fn one_process_at_a_time_has_its_turn() {
        let (_scratch, storage) = storage();
        let turn = storage.take_turn().unwrap();
        assert!(matches!(turn, Turn::Ours(_)));
        assert!(matches!(storage.take_turn().unwrap(), Turn::Anothers));
        drop(turn);
        assert!(matches!(storage.take_turn().unwrap(), Turn::Ours(_)));
    }

    #[test]
    fn a_storage_that_cannot_be_written_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = Storage::new(&file.join("x")).take_turn().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Storage);
        assert!(failure.text.contains("acme.storage"), "{failure}");
    }
}
