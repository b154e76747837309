//! The file that counts outlive the process in: one table by filter and key, and a copy of it
//! in memory so that only what changed is written. A write is whole or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::board::Board;
use super::row::{Kept, PATIENCE_SECONDS, Row, hash_of, nameless, shorten};
use super::window::{midnight, seconds};
use super::{Book, Count, Quota, Reset, Usage};
use crate::exposition::Exposition;
use crate::supervise::panic_text;

/// A file of counts, and what this process knows of it.
pub struct Store {
    path: PathBuf,
    inner: Mutex<Inner>,
    board: Board,
}

struct Inner {
    /// `None` after a failure: the next write opens the file again.
    file: Option<Database>,
    /// What the file holds, by filter.
    shelves: BTreeMap<Box<str>, Shelf>,
}

/// What the file holds of one filter, by the hash of the key.
type Shelf = HashMap<u64, Row>;

/// What one write puts in and takes out.
#[derive(Debug, Default)]
struct Changes {
    put: Vec<(Box<str>, u64, Row)>,
    gone: Vec<(Box<str>, u64)>,
}

impl Store {
    /// Opens the file, or makes it, readable for this user alone: keys may be credentials.
    ///
    /// # Errors
    /// When it cannot be read and written by this process alone. The text says what to do.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (file, shelves) = guarded(path, || read(path))?;
        let rows = shelves.values().map(Shelf::len).sum();
        let board = Board::default();
        board.rows(rows, size(path));
        Ok(Self {
            path: path.to_owned(),
            inner: Mutex::new(Inner {
                file: Some(file),
                shelves,
            }),
            board,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what the file knows of a filter back into its book. Rows of other windows are left
    /// to later writes, which drop them in time.
    pub fn restore(&self, filter: &str, book: &dyn Book, now: SystemTime) {
        let current = book.terms().window.start(now);
        let inner = self.inner();
        let Some(shelf) = inner.shelves.get(filter) else {
            return;
        };
        for (hash, row) in shelf {
            if row.window == current && row.used > 0 && row.kept != Kept::Reset {
                book.restore(Count {
                    hash: *hash,
                    window: row.window,
                    used: row.used,
                });
            }
        }
    }

    /// Writes what has changed since the last time. Blocks for as long as the disk takes.
    /// Failures are logged when they begin and when they end, counted, and mended by the next
    /// write that succeeds.
    pub fn flush(&self, quotas: &[Quota], now: SystemTime) {
        let began = Instant::now();
        let mut inner = self.inner();
        let changes = inner.gather(quotas, now);
        let result = self.write(&mut inner, changes);
        let rows = inner.shelves.values().map(Shelf::len).sum();
        drop(inner);
        self.board.rows(rows, size(&self.path));
        self.board.wrote(&self.path, &result, began.elapsed());
    }

    /// What keys of a quota have used, most first; `key` chooses one by its text. At most
    /// `usages_max`, and how many there are in all.
    pub fn usages(
        &self,
        quota: &Quota,
        key: Option<&str>,
        usages_max: usize,
    ) -> (Vec<Usage>, usize) {
        let terms = quota.book.terms();
        let mut inner = self.inner();
        let shelf = inner.shelf(&quota.filter);
        learn_names(shelf, &*quota.book);
        let mut usages = Vec::new();
        quota.book.each(&mut |count| {
            let text = shelf.get(&count.hash).map(|row| &*row.text);
            let text = text.map_or_else(|| nameless(count.hash), Into::into);
            if count.used == 0 || key.is_some_and(|key| *key != *text) {
                return;
            }
            usages.push(Usage {
                key: text,
                used: count.used,
                limit: terms.limit,
                left: terms.limit.saturating_sub(count.used),
                since: midnight(count.window),
                until: midnight(terms.window.end(count.window)),
            });
        });
        drop(inner);
        let total = usages.len();
        usages.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(&b.key)));
        usages.truncate(usages_max);
        (usages, total)
    }

    /// Lets a key of a quota begin anew, here and in the file.
    ///
    /// # Errors
    /// When the file cannot be written: the key has begun anew, but a crash before the next
    /// write that succeeds brings its count back.
    pub fn reset(&self, quota: &Quota, key: &str) -> Result<Reset, StoreError> {
        let mut inner = self.inner();
        let shelf = inner.shelf(&quota.filter);
        learn_names(shelf, &*quota.book);
        let mut rows = shelf.iter();
        let named = rows.find(|(_, row)| &*row.text == key);
        let Some(hash) = named.map(|(hash, _)| *hash).or_else(|| hash_of(key)) else {
            return Ok(Reset::Unknown);
        };
        if quota.book.reset(hash) == Reset::Unknown {
            return Ok(Reset::Unknown);
        }
        // Should the write fail, neither a reload brings the count back nor a later write
        // leaves it in the file.
        if let Some(row) = shelf.get_mut(&hash)
            && row.window > 0
        {
            row.kept = Kept::Reset;
        }
        let changes = Changes {
            gone: vec![(quota.filter.clone(), hash)],
            ..Changes::default()
        };
        self.write(&mut inner, changes).map(|()| Reset::Done)
    }

    /// Writes the families of the store.
    pub(crate) fn metrics(&self, out: &mut Exposition) {
        self.board.write(out);
    }

    /// One transaction. What is in memory follows only when it went well.
    fn write(&self, inner: &mut Inner, changes: Changes) -> Result<(), StoreError> {
        if inner.file.is_some() && changes.put.is_empty() && changes.gone.is_empty() {
            return Ok(());
        }
        let file = inner.file.take();
        // A file that failed stays closed until the next write.
        inner.file = Some(guarded(&self.path, || {
            let file = match file {
                Some(file) => file,
                None => open(&self.path)?,
            };
            apply(&file, &changes).map_err(|error| StoreError::of(&self.path, &error))?;
            Ok(file)
        })?);
        for (filter, hash) in &changes.gone {
            if let Some(shelf) = inner.shelves.get_mut(filter) {
                shelf.remove(hash);
            }
        }
        inner.shelves.retain(|_, shelf| !shelf.is_empty());
        for (filter, hash, row) in changes.put {
            inner.shelf(&filter).insert(hash, row);
        }
        Ok(())
    }

    /// Has the next write open the file again, as after one that failed.
    #[cfg(test)]
    pub(super) fn close(&self) {
        self.inner().file = None;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Inner {
    fn shelf(&mut self, filter: &str) -> &mut Shelf {
        self.shelves.entry(filter.into()).or_default()
    }

    /// What differs between the books and the file, and what nobody needs any more.
    fn gather(&mut self, quotas: &[Quota], now: SystemTime) -> Changes {
        let mut changes = Changes::default();
        let mut windows = HashMap::new();
        for Quota { filter, book } in quotas {
            let window = book.terms().window;
            let start = window.start(now);
            windows.insert(&**filter, window);
            let shelf = self.shelf(filter);
            learn_names(shelf, &**book);
            let mut counted = HashSet::new();
            book.each(&mut |count| {
                counted.insert(count.hash);
                let former = shelf.get(&count.hash);
                let same = |row: &Row| {
                    (row.window, row.used, row.kept) == (count.window, count.used, Kept::InFile)
                };
                if count.window < start || count.used == 0 || former.is_some_and(same) {
                    return;
                }
                let text = former.map(|row| row.text.clone());
                let row = Row {
                    text: text.unwrap_or_else(|| nameless(count.hash)),
                    window: count.window,
                    used: count.used,
                    kept: Kept::InFile,
                };
                changes.put.push((filter.clone(), count.hash, row));
            });
            // A name whose key is not counted was learned of a request that was refused.
            shelf.retain(|hash, row| row.kept != Kept::NotYet || counted.contains(hash));
        }
        for (filter, shelf) in &self.shelves {
            let window = windows.get(&**filter).copied();
            // Many keys are not kept longer than they are needed.
            let patience = match shelf.len() > OVER_ROWS_MAX {
                true => 0,
                false => PATIENCE_SECONDS,
            };
            let over = shelf.iter().filter(|(_, row)| match row.kept {
                Kept::InFile => row.end(window).saturating_add(patience) <= seconds(now),
                Kept::Reset => true,
                Kept::NotYet => false,
            });
            changes
                .gone
                .extend(over.map(|(hash, _)| (filter.clone(), *hash)));
        }
        // A key that begins its next window is put, not taken out.
        let put: HashSet<(&str, u64)> = changes.put.iter().map(|(f, h, _)| (&**f, *h)).collect();
        changes.gone.retain(|(f, h)| !put.contains(&(&**f, *h)));
        changes
    }
}

/// Takes over the texts of keys that are new. A text that is known stays.
fn learn_names(shelf: &mut Shelf, book: &dyn Book) {
    for _ in 0..NAMES_MAX {
        let Some((hash, text)) = book.take_name() else {
            return;
        };
        let text = shorten(hash, &text);
        match shelf.get_mut(&hash) {
            Some(row) if row.text == text => {}
            Some(row) => {
                row.text = text;
                if row.kept == Kept::InFile {
                    row.kept = Kept::NotYet;
                }
            }
            None => {
                let row = Row {
                    text,
                    window: 0,
                    used: 0,
                    kept: Kept::NotYet,
                };
                shelf.insert(hash, row);
            }
        }
    }
}

fn read(path: &Path) -> Result<(Database, BTreeMap<Box<str>, Shelf>), StoreError> {
    let file = open(path)?;
    let shelves = load(&file).map_err(|error| StoreError::of(path, &error))?;
    Ok((file, shelves))
}

/// Opens the file, and proves that it can be written.
fn open(path: &Path) -> Result<Database, StoreError> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::new(path, Trouble::Access, &error))?;
    let file = Database::builder()
        .set_cache_size(CACHE_BYTES_MAX)
        .set_check_integrity_on_open(true)
        .create(path)
        .map_err(|error| StoreError::of(path, &error.into()))?;
    let version = agree(&file).map_err(|error| StoreError::of(path, &error))?;
    if version != VERSION {
        let said = format!("it has version {version}, this gateway knows version {VERSION}");
        return Err(StoreError::new(path, Trouble::Foreign, &said));
    }
    Ok(file)
}

/// The version of the file, which a new one gets.
fn agree(file: &Database) -> Result<u64, redb::Error> {
    let write = file.begin_write()?;
    let version = {
        let mut about = write.open_table(ABOUT)?;
        let found = about.get("version")?.map(|version| version.value());
        if found.is_none() {
            about.insert("version", VERSION)?;
        }
        write.open_table(COUNTS)?;
        found.unwrap_or(VERSION)
    };
    write.commit()?;
    Ok(version)
}

fn load(file: &Database) -> Result<BTreeMap<Box<str>, Shelf>, redb::Error> {
    let mut shelves: BTreeMap<Box<str>, Shelf> = BTreeMap::new();
    let table = file.begin_read()?.open_table(COUNTS)?;
    for entry in table.iter()? {
        let (key, value) = entry?;
        let ((filter, hash), (text, window, used)) = (key.value(), value.value());
        let row = Row {
            text: text.into(),
            window,
            used,
            kept: Kept::InFile,
        };
        shelves.entry(filter.into()).or_default().insert(hash, row);
    }
    Ok(shelves)
}

fn apply(file: &Database, changes: &Changes) -> Result<(), redb::Error> {
    let write = file.begin_write()?;
    {
        let mut table = write.open_table(COUNTS)?;
        for (filter, hash) in &changes.gone {
            table.remove((&**filter, *hash))?;
        }
        for (filter, hash, row) in &changes.put {
            let value = (&*row.text, row.window, row.used);
            table.insert((&**filter, *hash), value)?;
        }
    }
    write.commit()?;
    Ok(())
}

/// A file that somebody has written into may bring the library to a panic: that is a damaged
/// file too.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic_text(panic.as_ref()).to_owned();
        Err(StoreError::new(path, Trouble::Damaged, &said))
    })
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

/// Why counts cannot be read or written. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    path: PathBuf,
    trouble: Trouble,
    cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Access,
    Locked,
    Damaged,
    Foreign,
}

impl StoreError {
    fn new(path: &Path, trouble: Trouble, cause: &dyn fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            trouble,
            cause: cause.to_string(),
        }
    }

    fn of(path: &Path, error: &redb::Error) -> Self {
        let trouble = match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Trouble::Locked,
            redb::Error::Io(cause) if cause.kind() != std::io::ErrorKind::InvalidData => {
                Trouble::Access
            }
            redb::Error::PreviousIo => Trouble::Access,
            redb::Error::UpgradeRequired(_) => Trouble::Foreign,
            _ => Trouble::Damaged,
        };
        Self::new(path, trouble, error)
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self.trouble {
            Trouble::Access => {
                "create its directory, let this user write there, look at the disk, or change [quotas] store"
            }
            Trouble::Locked => {
                "another process has it open: each gateway needs a file of its own; stop the other one, or change [quotas] store"
            }
            Trouble::Damaged => {
                "move it away and start again: every quota then begins anew; keep it if you want to know why"
            }
            Trouble::Foreign => {
                "run the version of ringgate that wrote it, or move it away: every quota then begins anew"
            }
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.trouble {
            Trouble::Access => "cannot be read and written",
            Trouble::Locked => "is in use",
            Trouble::Damaged => "is damaged or no file of counts",
            Trouble::Foreign => "is of another version",
        };
        let Self { path, cause, .. } = self;
        write!(f, "the quota store {} {what}: {cause}", path.display())
    }
}

impl std::error::Error for StoreError {}

/// By filter and hash of the key: its text, when its window began, and what it has used.
const COUNTS: TableDefinition<'_, (&str, u64), (&str, u64, u64)> = TableDefinition::new("counts");
/// What is said of the file itself.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// The format of the tables above.
const VERSION: u64 = 1;
/// Rows of a filter beyond which those that are over go at once.
const OVER_ROWS_MAX: usize = 100_000;
/// Texts taken over at a time; the others wait for the next write.
const NAMES_MAX: usize = 100_000;
/// Bytes of the file that the library keeps in memory.
const CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
