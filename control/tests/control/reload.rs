use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringgate_control::{Cause, Refusal, ReloadRefused, ReloadReport, post_reload};

use crate::fake::{Event, FakeNode, PATIENCE, metric, quiet, start};

/// A reload that notes how many of it run at once.
fn counted(node: &FakeNode) -> Arc<AtomicUsize> {
    let running = AtomicUsize::new(0);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    *node.on_reload.lock().unwrap() = Arc::new(move |_| {
        seen.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(Duration::from_millis(30));
        running.fetch_sub(1, SeqCst);
        Ok(ReloadReport::default())
    });
    most
}

#[test]
fn reloads_run_one_at_a_time() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let most = counted(&node);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| post_reload(address, PATIENCE).unwrap().unwrap());
        }
    });
    assert_eq!(most.load(SeqCst), 1);
    assert_eq!(
        metric(address, "ringgate_reloads_total{result=\"applied\"}"),
        8
    );
    handle.stop();
}

#[test]
fn a_client_that_hangs_up_does_not_let_another_reload_in() {
    let (node, events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let most = counted(&node);
    let mut hasty = TcpStream::connect(address).unwrap();
    hasty
        .write_all(b"POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(
        events.recv_timeout(PATIENCE).unwrap(),
        Event::Reload(Cause::Admin)
    );
    drop(hasty);
    post_reload(address, PATIENCE).unwrap().unwrap();
    assert_eq!(most.load(SeqCst), 1);
    handle.stop();
}

#[test]
fn a_reload_that_panics_is_refused_and_the_next_one_runs() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let first = Mutex::new(true);
    *node.on_reload.lock().unwrap() = Arc::new(move |_| {
        let is_first = std::mem::take(&mut *first.lock().unwrap());
        assert!(!is_first, "as the test asked");
        Ok(ReloadReport::default())
    });
    let refused = post_reload(address, PATIENCE).unwrap().unwrap_err();
    assert_eq!(refused.refusal, Refusal::Internal);
    assert!(refused.text.contains("as the test asked"));
    post_reload(address, PATIENCE).unwrap().unwrap();
    handle.stop();
}

#[test]
fn every_result_is_one_line_of_the_log() {
    crate::log::collect();
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    *node.on_reload.lock().unwrap() = Arc::new(|_| {
        Ok(ReloadReport {
            generation: 8_765,
            ..ReloadReport::default()
        })
    });
    post_reload(address, PATIENCE).unwrap().unwrap();
    let lines = crate::log::lines_with("generation=8765");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("cause=admin"), "{lines:?}");
    assert!(lines[0].contains("nothing changed"), "{lines:?}");
    *node.on_reload.lock().unwrap() = Arc::new(|_| {
        let text = "error: no key `wokers`\n --> r.toml:2:1\n";
        Err(ReloadRefused::new(Refusal::InvalidConfig, text))
    });
    post_reload(address, PATIENCE).unwrap().unwrap_err();
    let lines = crate::log::lines_with("wokers");
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains('\n'), "{lines:?}");
    assert!(lines[0].contains("stays in force"), "{lines:?}");
    assert!(lines[0].contains("refusal=invalid_config"), "{lines:?}");
    handle.stop();
}
