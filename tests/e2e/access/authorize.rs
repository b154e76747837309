//! Who may do what.

use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(
    rules_allow_and_deny_by_who_asks_and_for_what,
    who_has_proved_nothing_is_asked_to,
    explain_names_the_rule,
);

/// Of "staff" and of "guest".
const KEYS: [&str; 2] = [
    "1562206543da764123c21bd524674f0a8aaf49c8a89744c97352fe677f7e4006",
    "84983c60f7daadc1cb8698621f802c0d9f9a3c3c295c810748fb048115c186ec",
];

fn setup(driver: Driver, origin: &Origin, key: &str, rules: &str) -> Setup {
    let [staff, guest] = KEYS;
    Setup::new(driver)
        .set("forwarded", "trusted", "[\"127.0.0.0/8\"]")
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[[consumer]]\nname = \"alice\"\ngroups = [\"staff\"]\napi_keys = [\"sha256:{staff}\"]\n\
             [[consumer]]\nname = \"bob\"\ngroups = [\"guests\"]\napi_keys = [\"sha256:{guest}\"]\n\
             [filter.key]\ntype = \"api_key\"\n{key}\n\
             [filter.rules]\ntype = \"authorize\"\n{rules}"
        ))
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"key\", \"rules\"]",
        )
}

const RULES: &str = "allow = [{ name = \"staff\", groups = [\"staff\"] }, \
                     { consumers = [\"bob\"], methods = [\"GET\"] }]\n\
                     deny = [{ addresses = [\"192.0.2.0/24\"] }]";

fn ask(gateway: &Gateway, method: &str, fields: &str) -> (u16, Option<String>, String) {
    let mut client = gateway.client();
    let response = client.exchange(format!(
        "{method} /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{fields}\r\n"
    ));
    let challenge = response.field("www-authenticate").map(str::to_owned);
    (response.status, challenge, response.text().to_owned())
}

fn rules_allow_and_deny_by_who_asks_and_for_what(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = setup(driver, &origin, "", RULES).start();
    for (method, fields, expected) in [
        ("GET", "x-api-key: staff\r\n", 200),
        ("POST", "x-api-key: staff\r\n", 200),
        ("GET", "x-api-key: guest\r\n", 200),
        ("POST", "x-api-key: guest\r\n", 403),
        (
            "GET",
            "x-api-key: staff\r\nx-forwarded-for: 192.0.2.7\r\n",
            403,
        ),
        (
            "GET",
            "x-api-key: staff\r\nx-forwarded-for: 192.0.3.7\r\n",
            200,
        ),
    ] {
        let (status, challenge, text) = ask(&gateway, method, fields);
        assert_eq!(status, expected, "{method} {fields}");
        assert_eq!(challenge, None);
        for told in ["staff", "guest", "rule", "192.0.2"] {
            assert!(status == 200 || !text.contains(told), "{text}");
        }
    }
    let log = gateway.log(6);
    let refused = log.iter().filter(|line| line["status"] == 403);
    assert_eq!(refused.clone().count(), 2);
    for line in refused {
        assert_eq!(line["code"], "forbidden", "{line}");
    }
    assert_eq!(origin.requests().len(), 4);
}

fn who_has_proved_nothing_is_asked_to(driver: Driver) {
    let origin = Origin::named("x");
    for key in ["optional = true", "anonymous = \"bob\""] {
        let rules = "allow = [{ authenticated = true }]\ndeny = [{ methods = [\"DELETE\"] }]";
        let gateway = setup(driver, &origin, key, rules).start();
        let (status, challenge, _) = ask(&gateway, "GET", "");
        assert_eq!(status, 401, "{key}");
        assert_eq!(challenge.as_deref(), Some("ApiKey realm=\"ringgate\""));
        // To prove something would not help.
        let (status, challenge, _) = ask(&gateway, "DELETE", "");
        assert_eq!((status, challenge), (403, None), "{key}");
        assert_eq!(ask(&gateway, "GET", "x-api-key: guest\r\n").0, 200);
        assert_eq!(ask(&gateway, "GET", "x-api-key: wrong\r\n").0, 401);
    }
}

fn explain_names_the_rule(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = setup(driver, &origin, "", RULES).start();
    let file = gateway.file().display().to_string();
    let url = format!("http://{}/a", gateway.address());
    for (method, key, said) in [
        ("POST", "staff", "allow rule staff allows it"),
        ("GET", "guest", "allow[1] allows it"),
        ("POST", "guest", "no rule allows it to who makes it"),
    ] {
        let key = format!("x-api-key: {key}");
        let arguments = ["explain", &file, method, &url, "-H", &key];
        let told = crate::support::run(&arguments).stdout;
        assert!(told.contains(said), "{said} in {told}");
    }
}
