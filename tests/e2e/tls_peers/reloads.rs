//! Certificates that change while connections use them.

use crate::support::certificates::Authority;
use crate::support::process::{Process, output, tool};
use crate::support::{Driver, Gateway, Origin, on_both_drivers, wait_until};

on_both_drivers!(
    shows_a_renewed_certificate_to_new_clients,
    keeps_the_old_certificate_while_the_new_one_is_no_good,
    drops_no_connection_under_load,
);

/// The serial number of the certificate that a new client is shown.
#[track_caller]
fn serial(gateway: &Gateway) -> String {
    let said = super::shake(gateway, &["-showcerts"]);
    let mut command = tool("openssl");
    command.args(["x509", "-noout", "-serial"]);
    output(command, said.as_bytes()).text()
}

/// A client that stays, and asks again when it is told to.
fn staying(gateway: &Gateway) -> Process {
    let mut command = tool("openssl");
    command.args(["s_client", "-quiet", "-connect", gateway.address()]);
    command.args(["-servername", "gateway.test"]);
    Process::start(command)
}

#[track_caller]
fn ask(client: &mut Process) {
    client.tell("GET /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(client.line(), "HTTP/1.1 200 OK");
    while client.line() != "answer" {}
}

fn shows_a_renewed_certificate_to_new_clients(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("answer\n"));
    let pair = authority.server(&["gateway.test"]);
    let gateway = super::setup(driver, &origin, &pair).start();
    let mut client = staying(&gateway);
    ask(&mut client);
    let first = serial(&gateway);
    let renewed = authority.server(&["gateway.test"]);
    pair.replace_by(&renewed);
    wait_until("the renewed certificate is shown", || {
        serial(&gateway) != first
    });
    ask(&mut client);
    // The rest of the configuration was not touched, so nothing else was reloaded.
    super::expect_answer(&super::shake(&gateway, &["-CAfile", &authority.trust()]));
}

fn keeps_the_old_certificate_while_the_new_one_is_no_good(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("answer\n"));
    let pair = authority.server(&["gateway.test"]);
    let gateway = super::setup(driver, &origin, &pair).start();
    let first = serial(&gateway);
    // As a deploy that is halfway: the key does not belong to the certificate.
    let other = authority.server(&["gateway.test"]);
    std::fs::copy(&other.key, &pair.key).unwrap();
    wait_until("the operator is told", || {
        gateway
            .stderr()
            .to_ascii_lowercase()
            .contains("certificate")
    });
    assert_eq!(serial(&gateway), first);
    std::fs::copy(&other.cert, &pair.cert).unwrap();
    wait_until("the whole pair is used", || serial(&gateway) != first);
}

fn drops_no_connection_under_load(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("answer\n"));
    let pair = authority.server(&["gateway.test"]);
    let gateway = super::setup(driver, &origin, &pair).start();
    let url = format!("https://{}/a", gateway.address());
    let mut command = tool("h2load");
    command.args(["-c", "4", "-m", "10", "-D", "3", &url]);
    let mut load = Process::start(command);
    gateway.wait_for_metric("ringgate_requests_total", &[], 10.0);
    for _ in 0..3 {
        let before = serial(&gateway);
        pair.replace_by(&authority.server(&["gateway.test"]));
        wait_until("the renewed certificate is shown", || {
            serial(&gateway) != before
        });
        assert_eq!(gateway.reload().status, 200, "{}", gateway.stderr());
    }
    let mut said = String::new();
    while !said.contains("traffic:") {
        said.push_str(&load.line());
        said.push('\n');
    }
    assert!(load.wait().success());
    assert!(said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains(" 0 4xx, 0 5xx"), "{said}");
}
