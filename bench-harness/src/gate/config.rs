//! A bench version of somebody's configuration: everything stays as it is, but for what points
//! at real places. What was replaced is told, so that nobody takes the figures for those of the
//! original.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::cores::Cores;
use crate::fault::{Fault, Result};

/// Where the bench has things.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    /// Where the workers run, one on each.
    pub cores: &'a Cores,
    /// Stands in for every endpoint.
    pub origin: SocketAddr,
    /// Takes the access log, if there is one.
    pub access_log: &'a Path,
    /// The listener that is loaded; the first when `None`.
    pub listener: Option<&'a str>,
    /// In place of the driver that the configuration asks for.
    pub driver: Option<&'a str>,
}

/// A configuration of the bench.
#[derive(Debug, Clone, PartialEq)]
pub struct Bench {
    /// The whole of it, includes resolved.
    table: Table,
    /// What is not as it was, in words.
    pub replaced: Vec<String>,
    /// Whether requests are noted in the file that [`Seat`] says.
    pub logs: bool,
}

impl Bench {
    /// As the gateway reads it.
    pub fn text(&self) -> String {
        toml::to_string_pretty(&self.table).unwrap_or_default()
    }

    /// Has every route also drop request fields of `names` names that no request has: work for
    /// the gateway that changes no byte on the wire. A second time replaces the first.
    pub fn burden(&mut self, names: u32) {
        let names = (0..names).map(|n| Value::String(format!("x-gate-burden-{n:04}")));
        let mut request = Table::new();
        request.insert("remove".to_owned(), Value::Array(names.collect()));
        let mut filter = Table::new();
        filter.insert("type".to_owned(), "headers".into());
        filter.insert("request".to_owned(), Value::Table(request));
        entry(&mut self.table, "filter").insert(BURDEN.to_owned(), Value::Table(filter));
        for route in tables(&mut self.table, "route") {
            let filters = route
                .entry("filters")
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(filters) = filters
                && filters.iter().all(|filter| filter.as_str() != Some(BURDEN))
            {
                filters.push(BURDEN.into());
            }
        }
    }
}

/// The bench version of a file and all that it includes.
///
/// # Errors
/// When a file cannot be read, is no TOML, or has no listener of that name.
pub fn derive(file: &Path, seat: Seat<'_>) -> Result<Bench> {
    let mut table = read(file)?;
    let mut seen = BTreeSet::from([real(file)]);
    let mut replaced = Vec::new();
    let included = include(file, &mut table, &mut seen)?;
    if included > 0 {
        replaced.push(format!("{included} included files are part of it"));
    }
    place(table, seat, replaced).map_err(|fault| match fault {
        Fault::Setup(what) => Fault::Setup(format!("{}: {what}", file.display())),
        other => other,
    })
}

/// The bench version of a text.
///
/// # Errors
/// As [`derive()`].
pub fn derive_text(text: &str, seat: Seat<'_>) -> Result<Bench> {
    let table = text.parse::<Table>();
    let table = table.map_err(|error| Fault::Setup(format!("no valid TOML: {error}")))?;
    place(table, seat, Vec::new())
}

fn place(mut table: Table, seat: Seat<'_>, mut replaced: Vec<String>) -> Result<Bench> {
    let mut note = |what: String| replaced.push(what);
    let runtime = entry(&mut table, "runtime");
    let cores = seat.cores;
    let workers = i64::try_from(cores.count()).unwrap_or(i64::MAX);
    runtime.insert("workers".to_owned(), Value::Integer(workers));
    runtime.insert("cores".to_owned(), Value::String(cores.to_string()));
    note(format!("runtime: {workers} worker(s), on core {cores}"));
    if let Some(driver) = seat.driver {
        runtime.insert("driver".to_owned(), driver.into());
        note(format!("runtime.driver: {driver}"));
    }
    // A gateway that is stopped has nobody left to wait for.
    runtime.insert("shutdown_grace".to_owned(), "1s".into());
    if entry(&mut table, "admin")
        .insert("listen".to_owned(), NOWHERE.into())
        .is_none()
    {
        note("admin: switched on, since the bench asks it".to_owned());
    }
    let log = entry(&mut table, "log");
    let logs = log.get("access").and_then(Value::as_str) != Some("off");
    if logs {
        let path = seat.access_log.display().to_string();
        if let Some(Value::String(before)) = log.insert("access".to_owned(), path.into()) {
            note(format!("log.access: a scratch file in place of {before}"));
        } else {
            note("log.access: a scratch file in place of standard output".to_owned());
        }
    }
    listeners(&mut table, seat, &mut note)?;
    endpoints(&mut table, seat, &mut note);
    Ok(Bench {
        table,
        replaced,
        logs,
    })
}

/// All go to ports of the system's choice; the one that is loaded gets the name by which the
/// bench asks for its address.
fn listeners(table: &mut Table, seat: Seat<'_>, note: &mut impl FnMut(String)) -> Result<()> {
    let name = |listener: &Table| {
        let name = listener.get("name").and_then(Value::as_str);
        name.unwrap_or_default().to_owned()
    };
    let names: Vec<String> = tables(table, "listener")
        .map(|listener| name(listener))
        .collect();
    let chosen = match seat.listener {
        Some(wanted) => names.iter().position(|name| name == wanted),
        None => (!names.is_empty()).then_some(0),
    };
    let chosen = chosen.ok_or_else(|| {
        let names = names.join(", ");
        Fault::Setup(match seat.listener {
            Some(wanted) => format!("no listener is called {wanted:?}; there are: {names}"),
            None => "there is no [[listener]] to send requests to".to_owned(),
        })
    })?;
    for (index, listener) in tables(table, "listener").enumerate() {
        let before = listener.insert("listen".to_owned(), NOWHERE.into());
        if index == chosen {
            listener.insert("name".to_owned(), LOADED.into());
        } else if names[index] == LOADED {
            listener.insert("name".to_owned(), format!("{LOADED}-other").into());
        }
        let loaded = if index == chosen {
            ", and takes the load"
        } else {
            ""
        };
        note(format!(
            "listener {}: a port of this machine in place of {}{loaded}",
            names[index],
            before.as_ref().and_then(Value::as_str).unwrap_or("none"),
        ));
    }
    Ok(())
}

fn endpoints(table: &mut Table, seat: Seat<'_>, note: &mut impl FnMut(String)) {
    for upstream in tables(table, "upstream") {
        let name = upstream
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = name.to_owned();
        let Some(Value::Array(endpoints)) = upstream.get_mut("endpoints") else {
            continue;
        };
        for endpoint in endpoints.iter_mut() {
            let address = seat.origin.to_string().into();
            match endpoint {
                Value::Table(endpoint) => {
                    endpoint.insert("address".to_owned(), address);
                }
                bare => *bare = address,
            }
        }
        let count = endpoints.len();
        note(format!(
            "upstream {name}: the test origin in place of {count} endpoint(s)"
        ));
    }
}

/// Adds what a file's includes define, and theirs; tells how many files there were.
fn include(file: &Path, table: &mut Table, seen: &mut BTreeSet<PathBuf>) -> Result<usize> {
    let Some(Value::Array(patterns)) = table.remove("include") else {
        return Ok(0);
    };
    let directory = file.parent().unwrap_or(Path::new(""));
    let mut count = 0;
    for pattern in patterns.iter().filter_map(Value::as_str) {
        let wrong =
            |why: String| Fault::Setup(format!("{}: include {pattern:?}: {why}", file.display()));
        let path = directory.join(pattern);
        let found =
            glob::glob(&path.to_string_lossy()).map_err(|error| wrong(error.to_string()))?;
        let mut files: Vec<PathBuf> = found.flatten().collect();
        files.sort();
        if files.is_empty() && !pattern.contains(['*', '?', '[']) {
            return Err(wrong("there is no such file".to_owned()));
        }
        for file in files {
            if !seen.insert(real(&file)) {
                continue;
            }
            let mut part = read(&file)?;
            count += 1 + include(&file, &mut part, seen)?;
            merge(table, part);
        }
    }
    Ok(count)
}

/// Lists are appended, tables of names put together; `ringgate check` finds what is twice.
fn merge(table: &mut Table, part: Table) {
    for (key, value) in part {
        match (table.get_mut(&key), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (Some(Value::Table(all)), Value::Table(more)) => all.extend(more),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn read(file: &Path) -> Result<Table> {
    let text = fs::read_to_string(file)
        .map_err(|error| Fault::io(&format!("read {}", file.display()), &error))?;
    let table = text.parse::<Table>();
    table.map_err(|error| Fault::Setup(format!("{} is no valid TOML: {error}", file.display())))
}

fn real(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// The table of this name, made if it is not there.
fn entry<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let value = table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    if !value.is_table() {
        *value = Value::Table(Table::new());
    }
    value.as_table_mut().expect("it was made a table above")
}

fn tables<'a>(table: &'a mut Table, name: &str) -> impl Iterator<Item = &'a mut Table> {
    let list = table.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_table_mut)
}

/// A port of the system's choice.
const NOWHERE: &str = "127.0.0.1:0";
/// The listener whose address the bench asks for.
const LOADED: &str = "public";
const BURDEN: &str = "gate-burden";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const THEIRS: &str = r#"
        include = ["more/*.toml", "single.toml"]
        [runtime]
        workers = 8
        driver = "epoll"
        [log]
        level = "warn"
        access = "/var/log/ringgate/access.log"
        [limits]
        body_max = "1MiB"
        [[listener]]
        name = "public"
        listen = "0.0.0.0:80"
        [[listener]]
        name = "internal"
        listen = "10.0.0.1:8080"
        [[upstream]]
        name = "users"
        endpoints = ["10.0.0.7:80", { address = "users.internal:80", weight = 3 }]
        [[route]]
        name = "users"
        path = "/users/{id}"
        upstream = "users"
    "#;

    fn seat<'a>(cores: &'a Cores) -> Seat<'a> {
        Seat {
            cores,
            origin: "127.0.0.1:9000".parse().unwrap(),
            access_log: Path::new("/scratch/access.log"),
            listener: None,
            driver: None,
        }
    }

    fn derived(text: &str, change: impl FnOnce(&mut Seat<'_>)) -> Result<Bench> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ringgate.toml");
        fs::write(&file, text).unwrap();
        fs::write(
            directory.path().join("single.toml"),
            "[filter.two]\ntype = \"headers\"\n",
        )
        .unwrap();
        fs::create_dir(directory.path().join("more")).unwrap();
        let route = "[filter.one]\ntype = \"headers\"\n[[route]]\nname = \"more\"\n\
                     path = \"/more\"\nfilters = [\"one\"]\nupstream = \"users\"\n";
        fs::write(directory.path().join("more/a.toml"), route).unwrap();
        let cores = "2-3".parse().unwrap();
        let mut seat = seat(&cores);
        change(&mut seat);
        derive(&file, seat)
    }

    #[test]
    fn addresses_are_replaced_and_the_rest_stays() {
        let bench = derived(THEIRS, |_| {}).unwrap();
        let text = bench.text();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["runtime"]["workers"].as_integer(), Some(2));
        assert_eq!(table["runtime"]["cores"].as_str(), Some("2-3"));
        assert_eq!(table["runtime"]["driver"].as_str(), Some("epoll"));
        assert_eq!(table["limits"]["body_max"].as_str(), Some("1MiB"));
        assert_eq!(table["log"]["level"].as_str(), Some("warn"));
        assert_eq!(table["log"]["access"].as_str(), Some("/scratch/access.log"));
        assert_eq!(table["admin"]["listen"].as_str(), Some("127.0.0.1:0"));
        let listeners = table["listener"].as_array().unwrap();
        assert!(
            listeners
                .iter()
                .all(|l| l["listen"].as_str() == Some("127.0.0.1:0"))
        );
        let endpoints = table["upstream"][0]["endpoints"].as_array().unwrap();
        assert_eq!(endpoints[0].as_str(), Some("127.0.0.1:9000"));
        assert_eq!(endpoints[1]["address"].as_str(), Some("127.0.0.1:9000"));
        assert_eq!(endpoints[1]["weight"].as_integer(), Some(3));
        for private in ["10.0.0", "0.0.0.0", "users.internal", "/var/log"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        assert!(bench.logs);
    }

    #[test]
    fn included_files_become_part_of_it() {
        let bench = derived(THEIRS, |_| {}).unwrap();
        let table: Table = bench.text().parse().unwrap();
        assert!(table.get("include").is_none());
        assert_eq!(table["route"].as_array().unwrap().len(), 2);
        let filters = table["filter"].as_table().unwrap();
        assert!(filters.contains_key("one") && filters.contains_key("two"));
        assert!(
            bench.replaced[0].contains("2 included"),
            "{:?}",
            bench.replaced
        );
    }

    #[test]
    fn what_was_replaced_is_told() {
        let told = derived(THEIRS, |_| {}).unwrap().replaced.join("\n");
        for word in [
            "2 worker(s), on core 2-3",
            "in place of /var/log/ringgate/access.log",
            "listener public: a port of this machine in place of 0.0.0.0:80, and takes the load",
            "upstream users: the test origin in place of 2 endpoint(s)",
        ] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }

    #[test]
    fn the_listener_that_is_asked_for_takes_the_load() {
        let bench = derived(THEIRS, |seat| seat.listener = Some("internal")).unwrap();
        let table: Table = bench.text().parse().unwrap();
        assert_eq!(table["listener"][0]["name"].as_str(), Some("public-other"));
        assert_eq!(table["listener"][1]["name"].as_str(), Some("public"));
        let fault = derived(THEIRS, |seat| seat.listener = Some("x")).unwrap_err();
        assert!(fault.to_string().contains("public, internal"), "{fault}");
        let fault = derived("", |_| {}).unwrap_err().to_string();
        assert!(fault.contains("no [[listener]]"), "{fault}");
    }

    #[test]
    fn a_log_that_is_off_stays_off() {
        let text = THEIRS.replace("/var/log/ringgate/access.log", "off");
        assert!(!derived(&text, |_| {}).unwrap().logs);
    }

    #[test]
    fn a_file_that_is_no_toml_is_named() {
        let fault = derived("workers =", |_| {}).unwrap_err().to_string();
        assert!(fault.contains("ringgate.toml is no valid TOML"), "{fault}");
    }

    #[test]
    fn a_burden_is_on_every_route() {
        let mut bench = derived(THEIRS, |_| {}).unwrap();
        bench.burden(7);
        bench.burden(3);
        let table: Table = bench.text().parse().unwrap();
        for route in table["route"].as_array().unwrap() {
            let filters = route["filters"].as_array().unwrap();
            let burdens = filters.iter().filter(|f| f.as_str() == Some("gate-burden"));
            assert_eq!(burdens.count(), 1);
        }
        let names = &table["filter"]["gate-burden"]["request"]["remove"];
        assert_eq!(names.as_array().unwrap().len(), 3);
    }
}
