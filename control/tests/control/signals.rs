use std::process::Command;

use ringgate_control::{Cause, Options, Shutdown, SignalHandling};

use crate::fake::{Event, FakeNode, PATIENCE, quiet, start};

fn signal(name: &str) {
    let me = std::process::id().to_string();
    let status = Command::new("kill").args([name, &me]).status().unwrap();
    assert!(status.success());
}

/// One test, since signals belong to the whole process.
#[test]
fn signals_reload_reopen_and_shut_down() {
    let (node, events) = FakeNode::new();
    let options = Options {
        signals: SignalHandling::Handle,
        ..quiet()
    };
    let (handle, _) = start(&node, options);
    let next = || events.recv_timeout(PATIENCE).unwrap();
    signal("-HUP");
    assert_eq!(next(), Event::Reload(Cause::Signal));
    signal("-USR1");
    assert_eq!(next(), Event::Reopened);
    signal("-TERM");
    assert_eq!(next(), Event::Shutdown(Shutdown::Terminate));
    signal("-INT");
    assert_eq!(next(), Event::Exit(130));
    signal("-TERM");
    assert_eq!(next(), Event::Exit(143));
    handle.stop();
}
