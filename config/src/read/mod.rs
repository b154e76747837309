//! Reading: from a parsed file to typed parts. One file per kind of thing; each holds the
//! vocabulary of its tables beside the code that reads them.

mod access;
mod acme;
mod expand;
mod filter;
mod http2;
mod listener;
mod node;
mod oauth;
mod policy;
mod process;
mod rate;
mod reader;
mod route;
mod table;
mod ticks;
mod upstream;

pub(crate) use expand::Text;
pub(crate) use listener::RawListener;
pub(crate) use policy::RawFallback;
pub(crate) use rate::{BURST, rate};
pub(crate) use reader::{Reader, quote};
pub(crate) use route::{RawAction, RawPolicy, RawRoute};
pub(crate) use table::{Table, bounded_integer};

use crate::keys::{Key, Kind, Section};
use crate::limits::{LIMITS, Limits};
use crate::model::{
    Access, Acme, Admin, Consumer, ConsumerStore, Filter, Forwarded, Issuer, Log, Node,
    OauthClient, Overload, PathPolicy, Quotas, Redis, Runtime, Upstream,
};
use crate::nearest::nearest;
use crate::span::{Span, Spanned};

const INCLUDE: Key = Key::optional(
    "include",
    Kind::List(&Kind::Text("a path or glob, such as \"routes/*.toml\"")),
    "Files whose listeners, upstreams, filters, consumers, issuers and routes are added to this file's, \
     relative to it, in the order of the list and sorted by path within each glob. A file is read \
     once, however many globs match it. Included files may include further files.",
);

const LISTENER: Key = Key::optional(
    "listener",
    Kind::Tables(&listener::LISTENER),
    "Where clients connect; at least one.",
);

const UPSTREAM: Key = Key::optional(
    "upstream",
    Kind::Tables(&upstream::UPSTREAM),
    "Where requests are sent.",
);

const FILTER: Key = Key::optional(
    "filter",
    Kind::Tagged(filter::VARIANTS),
    "What is done to requests and responses, under a name that routes refer to.",
);

const CONSUMER: Key = Key::optional(
    "consumer",
    Kind::Tables(&access::CONSUMER),
    "Who may use the API.",
);

const ISSUER: Key = Key::optional(
    "issuer",
    Kind::Tables(&access::ISSUER),
    "Who issues the tokens that filters of type \"jwt\" take.",
);

const OAUTH_CLIENT: Key = Key::optional(
    "oauth_client",
    Kind::Tables(&oauth::OAUTH_CLIENT),
    "What the gateway is to authorisation servers that give it tokens for origins.",
);

const ROUTE: Key = Key::optional(
    "route",
    Kind::Tables(&route::ROUTE),
    "Which requests go where.",
);

/// The main file.
pub(crate) static ROOT: Section = Section {
    title: "the configuration",
    doc: "The top level of the main file.",
    keys: &[
        INCLUDE,
        Key::optional(
            "runtime",
            Kind::Table(&process::RUNTIME),
            "Threads of the data plane.",
        ),
        Key::optional(
            "admin",
            Kind::Table(&process::ADMIN),
            "The admin API; without this table there is none.",
        ),
        Key::optional("log", Kind::Table(&process::LOG), "The logs."),
        Key::optional("limits", Kind::Table(&LIMITS), "What a client may cost."),
        Key::optional(
            "path",
            Kind::Table(&process::PATH),
            "How request paths are normalised.",
        ),
        Key::optional(
            "forwarded",
            Kind::Table(&process::FORWARDED),
            "What origins are told about the client.",
        ),
        Key::optional(
            "acme",
            Kind::Table(&acme::ACME),
            "Where certificates are ordered.",
        ),
        Key::optional(
            "node",
            Kind::Table(&node::NODE),
            "What this node is among others.",
        ),
        Key::optional(
            "overload",
            Kind::Table(&node::OVERLOAD),
            "When requests are refused because there is too much to do.",
        ),
        Key::optional(
            "redis",
            Kind::Map(&Kind::Table(&node::REDIS)),
            "Redis or Valkey servers, under names that filters refer to.",
        ),
        Key::optional(
            "quotas",
            Kind::Table(&node::QUOTAS),
            "Where quotas are kept; needed when a filter is a quota.",
        ),
        Key::optional(
            "access",
            Kind::Table(&access::ACCESS),
            "How origins are told who makes a request.",
        ),
        Key::optional(
            "consumers",
            Kind::Table(&access::CONSUMERS),
            "Where more consumers are kept.",
        ),
        LISTENER,
        UPSTREAM,
        FILTER,
        CONSUMER,
        ISSUER,
        OAUTH_CLIENT,
        ROUTE,
    ],
};

/// A file that another one includes.
pub(crate) static INCLUDED: Section = Section {
    title: "an included file",
    doc: "The top level of an included file.",
    keys: &[
        INCLUDE,
        LISTENER,
        UPSTREAM,
        FILTER,
        CONSUMER,
        ISSUER,
        OAUTH_CLIENT,
        ROUTE,
    ],
};

/// Tables whose keys people put in the wrong place.
static HOMES: [&Section; 27] = [
    &LIMITS,
    &process::RUNTIME,
    &process::LOG,
    &process::PATH,
    &process::FORWARDED,
    &listener::LISTENER,
    &upstream::UPSTREAM,
    &route::ROUTE,
    &listener::TLS,
    &listener::CERTIFICATE,
    &http2::LISTENER_HTTP2,
    &upstream::TLS,
    &http2::UPSTREAM_HTTP2,
    &acme::ACME,
    &policy::UPSTREAM_RETRY,
    &policy::BREAKER,
    &policy::OUTLIER,
    &policy::UPSTREAM_CONCURRENCY,
    &node::NODE,
    &node::OVERLOAD,
    &node::QUOTAS,
    &access::ACCESS,
    &access::CONSUMER,
    &access::ISSUER,
    &access::CONSUMERS,
    &oauth::OAUTH_CLIENT,
    &ROOT,
];

/// What to say about a key that the table it stands in does not know, but another one does.
fn misplaced(written: &str, section: &'static Section) -> Option<String> {
    if std::ptr::eq(section, &raw const INCLUDED) && ROOT.key(written).is_some() {
        return Some(format!("`{written}` stands in the main file only"));
    }
    let home = HOMES.iter().find(|home| home.key(written).is_some());
    if let Some(home) = home {
        return Some(format!("`{written}` is a key of {}", home.title));
    }
    if written.len() < FAR_AWAY_LEN_MIN {
        return None;
    }
    let keys = HOMES.iter().flat_map(|home| home.keys);
    let near = nearest(written, keys.map(|key| key.name))?;
    let home = HOMES.iter().find(|home| home.key(near).is_some())?;
    Some(format!("did you mean `{near}` of {}?", home.title))
}

/// Shorter words are near to some key of some table whatever they mean.
const FAR_AWAY_LEN_MIN: usize = 5;

/// `[acme]`, there or not, with its place.
#[derive(Debug)]
pub(crate) struct RawAcme {
    /// `None` when it could not be read.
    pub acme: Option<Acme>,
    pub span: Span,
}

/// What the files of a load said, before names are resolved.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub runtime: Option<Runtime>,
    pub admin: Option<Admin>,
    pub log: Option<Log>,
    pub limits: Option<Limits>,
    pub path: Option<PathPolicy>,
    pub forwarded: Option<Forwarded>,
    pub acme: Option<RawAcme>,
    pub listeners: Vec<RawListener>,
    pub node: Node,
    pub overload: Overload,
    pub redis: Vec<Redis>,
    pub quotas: Option<Quotas>,
    pub upstreams: Vec<Upstream>,
    /// Fallbacks of upstreams, by their index: they may name others.
    pub fallbacks: Vec<(usize, RawFallback)>,
    pub filters: Vec<Filter>,
    pub access: Access,
    pub consumers: Vec<Consumer>,
    pub issuers: Vec<Issuer>,
    pub oauth_clients: Vec<OauthClient>,
    pub consumer_store: Option<ConsumerStore>,
    pub routes: Vec<RawRoute>,
}

impl Parts {
    /// Reads everything of the main file but its includes.
    pub fn read_main(&mut self, r: &mut Reader<'_>, root: &Table<'_>) {
        let runtime = root.table(r, "runtime");
        self.runtime = Some(process::runtime(r, runtime, root.span));
        self.admin = root.table(r, "admin").and_then(|t| process::admin(r, &t));
        let log = root.table(r, "log");
        self.log = Some(process::log(r, log));
        let limits = root.table(r, "limits");
        self.limits = Some(match limits {
            Some(table) => Limits::default().overridden(r, &table),
            None => Limits::default(),
        });
        let path = root.table(r, "path");
        self.path = Some(process::path(r, path));
        let forwarded = root.table(r, "forwarded");
        self.forwarded = Some(process::forwarded(r, forwarded));
        self.acme = root.table(r, "acme").map(|table| RawAcme {
            acme: acme::acme(r, &table),
            span: table.span,
        });
        let node = root.table(r, "node");
        self.node = node.map(|t| node::node(r, &t)).unwrap_or_default();
        let overload = root.table(r, "overload");
        self.overload = overload.map(|t| node::overload(r, &t)).unwrap_or_default();
        if let Some(item) = root.item("redis") {
            node::redis(r, &item, &mut self.redis);
        }
        let quotas = root.table(r, "quotas");
        self.quotas = quotas.and_then(|t| node::quotas(r, &t));
        let access = root.table(r, "access");
        self.access = access::access(r, access);
        let store = root.table(r, "consumers");
        self.consumer_store = store.and_then(|t| access::consumers(r, &t));
        self.read_shared(r, root);
    }

    /// Reads what main and included files may both hold. The main file comes first.
    pub fn read_shared(&mut self, r: &mut Reader<'_>, root: &Table<'_>) {
        let base = self.limits.clone().unwrap_or_default();
        for table in root.tables(r, "listener") {
            self.listeners.extend(listener::listener(r, &table, &base));
        }
        for table in root.tables(r, "upstream") {
            let Some((upstream, fallback)) = upstream::upstream(r, &table) else {
                continue;
            };
            let index = self.upstreams.len();
            self.fallbacks
                .extend(fallback.map(|fallback| (index, fallback)));
            self.upstreams.push(upstream);
        }
        if let Some(item) = root.item("filter") {
            filter::filters(r, &item, &mut self.filters);
        }
        for table in root.tables(r, "consumer") {
            self.consumers.extend(access::consumer(r, &table));
        }
        for table in root.tables(r, "issuer") {
            self.issuers.extend(access::issuer(r, &table));
        }
        for table in root.tables(r, "oauth_client") {
            self.oauth_clients.extend(oauth::oauth_client(r, &table));
        }
        for table in root.tables(r, "route") {
            self.routes.extend(route::route(r, &table));
        }
    }
}

/// The paths and globs that a file includes.
pub(crate) fn includes(r: &mut Reader<'_>, root: &Table<'_>) -> Vec<Spanned<Text>> {
    let items = root.list(r, "include");
    items.iter().filter_map(|item| r.text(item)).collect()
}
