//! The commands to try: one table for the banner, the tutorial and the tests.

/// A command with what it shows.
#[derive(Debug)]
pub struct Try {
    /// The heading that it stands under.
    pub topic: &'static str,
    /// What it shows, in a few words.
    pub shows: &'static str,
    /// The command, with `@GATEWAY@` and the like for what differs.
    pub command: &'static str,
    /// What its output contains.
    pub expect: &'static [&'static str],
}

const ROUTING: &str = "Routing";
const ANSWERS: &str = "Answers of the gateway itself";
const POLICY: &str = "Filters and limits";
const OPERATION: &str = "Running it";

/// Every command, in the order to try them.
pub const TRIES: &[Try] = &[
    Try {
        topic: ROUTING,
        shows: "a path goes to a service, here to `users`",
        command: "curl -s @GATEWAY@/api/users",
        expect: &["Amara Okafor", "Lucía Ferrer"],
    },
    Try {
        topic: ROUTING,
        shows: "a path parameter: one user",
        command: "curl -s @GATEWAY@/api/users/2",
        expect: &["Jonas Lindqvist"],
    },
    Try {
        topic: ROUTING,
        shows: "the same path with a header: another route, and a rewrite to /v2",
        command: "curl -s -H 'x-version: 2' @GATEWAY@/api/users/2",
        expect: &["\"version\":2"],
    },
    Try {
        topic: ROUTING,
        shows: "a query parameter decides: the next release, with one product more",
        command: "curl -s '@GATEWAY@/api/products?preview=true'",
        expect: &["2.0.0-rc1", "Wool blanket"],
    },
    Try {
        topic: ROUTING,
        shows: "a canary: of 50 requests about 5 go to the next release",
        command: "curl -s '@GATEWAY@/api/products/release?n=[1-50]' | sort | uniq -c",
        expect: &["\"release\":\"1.4.2\""],
    },
    Try {
        topic: ROUTING,
        shows: "a body goes through: an order is placed, 201",
        command: "curl -si -d '{\"user_id\":2,\"product_id\":3}' @GATEWAY@/api/orders",
        expect: &[
            "HTTP/1.1 201",
            "location: /api/orders/",
            "\"status\":\"placed\"",
        ],
    },
    Try {
        topic: ANSWERS,
        shows: "no route: 404",
        command: "curl -si @GATEWAY@/nowhere",
        expect: &["HTTP/1.1 404", "no_route"],
    },
    Try {
        topic: ANSWERS,
        shows: "a route, but not with this method: 405, and Allow names those it takes",
        command: "curl -si -X DELETE @GATEWAY@/api/orders",
        expect: &["HTTP/1.1 405", "allow: GET, HEAD, POST"],
    },
    Try {
        topic: ANSWERS,
        shows: "a redirect, with the rest of the path in its place",
        command: "curl -si @GATEWAY@/shop/3",
        expect: &["HTTP/1.1 308", "location: /api/products/3"],
    },
    Try {
        topic: ANSWERS,
        shows: "a constant answer",
        command: "curl -s @GATEWAY@/ping",
        expect: &["pong"],
    },
    Try {
        topic: ANSWERS,
        shows: "a route for one host name",
        command: "curl -s -H 'Host: status.demo.test' @GATEWAY@/",
        expect: &["all demo services are up"],
    },
    Try {
        topic: POLICY,
        shows: "response fields: x-content-type-options came, x-internal-build went",
        command: "curl -si @GATEWAY@/api/users/1",
        expect: &["HTTP/1.1 200", "x-content-type-options: nosniff"],
    },
    Try {
        topic: POLICY,
        shows: "the request as the service got it: x-gateway, x-request-id, via ...",
        command: "curl -s @GATEWAY@/whoami",
        expect: &["\"x-gateway\": \"ringgate-demo\"", "x-forwarded-for"],
    },
    Try {
        topic: POLICY,
        shows: "a body of 2000 bytes where 1 KiB is the limit: 413",
        command: "curl -si -d \"$(printf %02000d 7)\" @GATEWAY@/api/orders",
        expect: &["HTTP/1.1 413", "body_too_large"],
    },
    Try {
        topic: POLICY,
        shows: "the service takes 3 seconds, the route allows 1: 504",
        command: "curl -si @GATEWAY@/slow",
        expect: &["HTTP/1.1 504"],
    },
    Try {
        topic: OPERATION,
        shows: "requests by route and status class, for Prometheus",
        command: "curl -s @ADMIN@/metrics | grep ^ringgate_requests_total",
        expect: &["route=\"user-by-id\""],
    },
    Try {
        topic: OPERATION,
        shows: "the upstreams, their endpoints, requests so far",
        command: "curl -s @ADMIN@/upstreams | grep -e name -e address -e requests",
        expect: &["products-next"],
    },
    Try {
        topic: OPERATION,
        shows: "why a request goes where it goes; nothing is sent",
        command: "@RINGGATE@ explain @CONFIG@ GET /api/users/2 -H 'x-version: 2'",
        expect: &[
            "won   user-by-id-v2",
            "lost  user-by-id",
            "GET /v2/users/2 HTTP/1.1",
        ],
    },
    Try {
        topic: OPERATION,
        shows: "an edit takes effect by itself: pong becomes PONG",
        command: "sed -i s/pong/PONG/ @CONFIG@; sleep 1; curl @GATEWAY_ADDRESS@/ping",
        expect: &["PONG"],
    },
    Try {
        topic: OPERATION,
        shows: "a reload on request, with what changed",
        command: "@RINGGATE@ reload --config @CONFIG@",
        expect: &["nothing changed"],
    },
];
