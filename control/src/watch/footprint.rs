//! What a set of files looks like now: a digest of each, and every directory and link on the
//! way to it, since any of them may be what changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// The state of the watched files at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Directories to watch; free of links.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Files and links inside `directories` whose events matter.
    entries: BTreeSet<PathBuf>,
    /// Watched directories whose every entry matters.
    listings: BTreeSet<PathBuf>,
    digests: BTreeMap<PathBuf, u64>,
}

/// How one footprint differs from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    Nothing,
    /// Other files than before; those in both are the same.
    FileList,
    /// A file in both has other content.
    Content,
}

impl Footprint {
    pub(super) fn take(files: &[PathBuf]) -> Self {
        let mut footprint = Self::default();
        for file in files {
            footprint.trace(file);
            footprint.digests.insert(file.clone(), digest(file));
        }
        footprint
    }

    pub(super) fn changed_since(&self, earlier: &Self) -> Changed {
        let touched = |(file, digest): (&PathBuf, &u64)| {
            earlier.digests.get(file).is_some_and(|old| old != digest)
        };
        if self.digests.iter().any(touched) {
            Changed::Content
        } else if self.digests.keys().eq(earlier.digests.keys()) {
            Changed::Nothing
        } else {
            Changed::FileList
        }
    }

    /// Whether an event at `path` may change what the files say.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        self.entries.contains(path)
            || self.directories.contains(path)
            || path
                .parent()
                .is_some_and(|parent| self.listings.contains(parent))
    }

    /// Follows `file` component by component, as the kernel would, and notes every link. What
    /// does not exist is awaited in the deepest directory that does.
    fn trace(&mut self, file: &Path) {
        let Ok(file) = std::path::absolute(file) else {
            return;
        };
        let mut at = PathBuf::from("/");
        let mut ahead = steps(&file);
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&step);
            match fs::symlink_metadata(&next) {
                Ok(found) if found.is_symlink() && links < LINKS_MAX => {
                    links += 1;
                    self.note(&at, &next);
                    let Ok(to) = fs::read_link(&next) else {
                        return;
                    };
                    if to.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    let mut steps = steps(&to);
                    steps.append(&mut ahead);
                    ahead = steps;
                }
                Ok(found) => {
                    if ahead.is_empty() {
                        self.note(&at, &next);
                        if found.is_dir() {
                            self.directories.insert(next.clone());
                            self.listings.insert(next.clone());
                        }
                    }
                    at = next;
                }
                Err(_) => {
                    self.note(&at, &next);
                    return;
                }
            }
        }
    }

    fn note(&mut self, directory: &Path, entry: &Path) {
        self.directories.insert(directory.to_owned());
        self.entries.insert(entry.to_owned());
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// A file's content, or a directory's names; what cannot be read counts as one more content.
fn digest(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => names(file).hash(&mut hasher),
        Ok(_) => {
            if hash_content(file, &mut hasher).is_err() {
                "unreadable".hash(&mut hasher);
            }
        }
        Err(_) => "absent".hash(&mut hasher),
    }
    hasher.finish()
}

fn hash_content(file: &Path, hasher: &mut DefaultHasher) -> std::io::Result<()> {
    let mut file = fs::File::open(file)?;
    let mut block = vec![0; 64 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
            n => hasher.write(&block[..n]),
        }
    }
}

/// The names in a directory but for those that editors leave beside a file.
fn names(directory: &Path) -> BTreeSet<OsString> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| {
            let name = name.as_encoded_bytes();
            !name.starts_with(b".") && !name.ends_with(b"~")
        })
        .collect()
}

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    #[test]
    fn watches_the_parent_of_a_plain_file() {
        let (_dir, at) = scratch();
        let file = at.join("ringgate.toml");
        fs::write(&file, "a").unwrap();
        let footprint = Footprint::take(std::slice::from_ref(&file));
        assert_eq!(footprint.directories, BTreeSet::from([at.clone()]));
        assert!(footprint.concerns(&file));
        assert!(!footprint.concerns(&at.join("access.log")));
    }

    #[test]
    fn follows_every_link_on_the_way() {
        let (_dir, at) = scratch();
        fs::create_dir_all(at.join("releases/1")).unwrap();
        fs::write(at.join("releases/1/ringgate.toml"), "a").unwrap();
        symlink("releases/1", at.join("current")).unwrap();
        fs::create_dir(at.join("etc")).unwrap();
        symlink("../current/ringgate.toml", at.join("etc/ringgate.toml")).unwrap();
        let footprint = Footprint::take(&[at.join("etc/ringgate.toml")]);
        assert_eq!(
            footprint.directories,
            BTreeSet::from([at.join("etc"), at.clone(), at.join("releases/1")])
        );
        assert!(footprint.concerns(&at.join("current")));
        assert!(footprint.concerns(&at.join("releases/1/ringgate.toml")));
    }

    #[test]
    fn awaits_what_does_not_exist_in_the_deepest_directory_that_does() {
        let (_dir, at) = scratch();
        let footprint = Footprint::take(&[at.join("conf.d/sub/a.toml")]);
        assert_eq!(footprint.directories, BTreeSet::from([at.clone()]));
        assert!(footprint.concerns(&at.join("conf.d")));
    }

    #[test]
    fn a_link_loop_ends() {
        let (_dir, at) = scratch();
        symlink("b", at.join("a")).unwrap();
        symlink("a", at.join("b")).unwrap();
        assert!(!Footprint::take(&[at.join("a")]).directories.is_empty());
    }

    #[test]
    fn tells_content_from_touch_and_from_other_files() {
        let (_dir, at) = scratch();
        let (a, b) = (at.join("a"), at.join("b"));
        fs::write(&a, "1").unwrap();
        fs::write(&b, "1").unwrap();
        let before = Footprint::take(std::slice::from_ref(&a));
        fs::write(&a, "1").unwrap();
        let touched = Footprint::take(std::slice::from_ref(&a));
        assert_eq!(touched.changed_since(&before), Changed::Nothing);
        let both = Footprint::take(&[a.clone(), b.clone()]);
        assert_eq!(both.changed_since(&before), Changed::FileList);
        assert_eq!(before.changed_since(&both), Changed::FileList);
        fs::write(&a, "2").unwrap();
        assert_eq!(
            Footprint::take(&[a, b]).changed_since(&both),
            Changed::Content
        );
    }

    #[test]
    fn a_directory_stands_for_its_names() {
        let (_dir, at) = scratch();
        let watched = [at.clone()];
        let before = Footprint::take(&watched);
        fs::write(at.join(".a.swp"), "").unwrap();
        fs::write(at.join("a.toml~"), "").unwrap();
        assert_eq!(
            Footprint::take(&watched).changed_since(&before),
            Changed::Nothing
        );
        fs::write(at.join("a.toml"), "").unwrap();
        assert_eq!(
            Footprint::take(&watched).changed_since(&before),
            Changed::Content
        );
        assert!(before.concerns(&at.join("a.toml")));
    }
}
