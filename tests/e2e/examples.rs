//! Every file in examples/ passes `ringgate check`, and starts.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::support::{Client, Gateway, run_in};

/// What the configuration looks like, promised from the beginning.
const CONTRACT: &str = "contract.toml";

/// The one whose listeners pass bytes on.
const PASSTHROUGH: &str = "passthrough.toml";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn examples() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .expect("examples/ is in the repository")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert!(names.contains(&CONTRACT.to_owned()), "{names:?}");
    names
}

#[test]
fn every_example_passes_the_check() {
    for name in examples() {
        let outcome = run_in(&directory(), &["check", &name]);
        assert_eq!(
            outcome.code, 0,
            "{name}: {}{}",
            outcome.stdout, outcome.stderr
        );
    }
}

#[test]
fn every_example_starts() {
    for name in &examples() {
        let dir = tempfile::tempdir().unwrap();
        copy(&directory(), dir.path());
        let text = fs::read_to_string(directory().join(name)).unwrap();
        let file = dir.path().join(name);
        fs::write(&file, with_free_ports(&text, dir.path())).unwrap();
        let mut gateway = Gateway::start_on(&file);
        let addresses: Vec<String> = gateway.readiness()["listeners"]
            .as_object()
            .unwrap()
            .values()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect();
        for address in addresses {
            if name == PASSTHROUGH {
                TcpStream::connect(&address).unwrap(); // no HTTP is spoken there
                continue;
            }
            let response = Client::connect(&address).get("/");
            assert!(response.status >= 200, "{name}");
        }
        assert!(gateway.stop().success(), "{name}: {}", gateway.stderr());
    }
}

/// Copies the files of a directory, those in its own directories too.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, copied).unwrap();
        }
    }
}

/// The same configuration with ports chosen by the system and files kept in `dir`.
fn with_free_ports(text: &str, dir: &Path) -> String {
    text.lines()
        .map(|line| {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            match key.trim() {
                "listen" if value.contains("unix:") => {
                    format!("listen = \"unix:{}/l.sock\"", dir.display())
                }
                "listen" => "listen = \"127.0.0.1:0\"".to_owned(),
                "store" => format!("store = \"{}/quotas.redb\"", dir.display()),
                "access" if value.contains('/') => {
                    format!("access = \"{}/access.log\"", dir.display())
                }
                _ => line.to_owned(),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}
