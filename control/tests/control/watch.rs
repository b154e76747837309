use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use ringgate_control::{Cause, Handle, Options, Refusal, ReloadRefused, Watch};

use crate::fake::{Event, FakeNode, PATIENCE, quiet, start};

struct Scene {
    _dir: tempfile::TempDir,
    at: PathBuf,
    node: Arc<FakeNode>,
    events: Receiver<Event>,
    _handle: Handle,
}

/// Watches `watched` in a directory that `lay_out` has filled.
fn scene(watched: &[&str], lay_out: impl FnOnce(&Path)) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_owned();
    lay_out(&at);
    let (node, events) = FakeNode::new();
    *node.files.lock().unwrap() = watched.iter().map(|name| at.join(name)).collect();
    let options = Options {
        watch: Watch::On,
        ..quiet()
    };
    let (handle, _) = start(&node, options);
    Scene {
        _dir: dir,
        at,
        node,
        events,
        _handle: handle,
    }
}

impl Scene {
    fn write(&self, name: &str, content: &str) {
        fs::write(self.at.join(name), content).unwrap();
    }

    fn reloads(&self) {
        assert_eq!(
            self.events.recv_timeout(PATIENCE).unwrap(),
            Event::Reload(Cause::FileChanged)
        );
    }

    /// Nothing happened before the next real change, which is made to see that.
    fn stayed_quiet_until(&self, change: impl FnOnce()) {
        std::thread::sleep(std::time::Duration::from_millis(600));
        assert_eq!(self.events.try_recv().ok(), None);
        change();
        self.reloads();
    }
}

#[test]
fn a_write_in_place_reloads() {
    let scene = scene(&["a.toml"], |at| fs::write(at.join("a.toml"), "1").unwrap());
    scene.write("a.toml", "2");
    scene.reloads();
    scene.write("a.toml", "3");
    scene.reloads();
}

#[test]
fn a_replacement_by_rename_reloads_every_time() {
    let scene = scene(&["a.toml"], |at| fs::write(at.join("a.toml"), "1").unwrap());
    for content in ["2", "3", "4"] {
        scene.write(".a.toml.new", content);
        fs::rename(scene.at.join(".a.toml.new"), scene.at.join("a.toml")).unwrap();
        scene.reloads();
    }
}

#[test]
fn a_touch_or_a_neighbour_does_nothing() {
    let scene = scene(&["a.toml"], |at| fs::write(at.join("a.toml"), "1").unwrap());
    scene.write("a.toml", "1");
    scene.write("access.log", "a line");
    scene.stayed_quiet_until(|| scene.write("a.toml", "2"));
}

#[test]
fn a_kubernetes_symlink_swap_reloads() {
    let scene = scene(&["a.toml"], |at| {
        fs::create_dir(at.join("..1")).unwrap();
        fs::write(at.join("..1/a.toml"), "1").unwrap();
        symlink("..1", at.join("..data")).unwrap();
        symlink("..data/a.toml", at.join("a.toml")).unwrap();
    });
    for turn in 2..5 {
        let dir = format!("..{turn}");
        fs::create_dir(scene.at.join(&dir)).unwrap();
        scene.write(&format!("{dir}/a.toml"), &turn.to_string());
        symlink(&dir, scene.at.join("..data_tmp")).unwrap();
        fs::rename(scene.at.join("..data_tmp"), scene.at.join("..data")).unwrap();
        fs::remove_dir_all(scene.at.join(format!("..{}", turn - 1))).unwrap();
        scene.reloads();
    }
}

#[test]
fn a_directory_that_is_replaced_is_followed() {
    let scene = scene(&["conf/a.toml"], |at| {
        fs::create_dir(at.join("conf")).unwrap();
        fs::write(at.join("conf/a.toml"), "1").unwrap();
    });
    fs::create_dir(scene.at.join("conf.new")).unwrap();
    scene.write("conf.new/a.toml", "2");
    fs::rename(scene.at.join("conf"), scene.at.join("conf.old")).unwrap();
    fs::rename(scene.at.join("conf.new"), scene.at.join("conf")).unwrap();
    scene.reloads();
    scene.write("conf/a.toml", "3");
    scene.reloads();
}

#[test]
fn a_new_file_in_a_watched_directory_reloads() {
    let scene = scene(&["conf.d"], |at| fs::create_dir(at.join("conf.d")).unwrap());
    scene.write("conf.d/b.toml", "1");
    scene.reloads();
}

#[test]
fn files_that_a_reload_brings_are_watched_without_another_reload() {
    let scene = scene(&["a.toml"], |at| {
        fs::write(at.join("a.toml"), "1").unwrap();
        fs::write(at.join("b.toml"), "1").unwrap();
    });
    let node = Arc::downgrade(&scene.node);
    let both = vec![scene.at.join("a.toml"), scene.at.join("b.toml")];
    *scene.node.on_reload.lock().unwrap() = Arc::new(move |_| {
        *node.upgrade().unwrap().files.lock().unwrap() = both.clone();
        Ok(Default::default())
    });
    scene.write("a.toml", "2");
    scene.reloads();
    scene.stayed_quiet_until(|| scene.write("b.toml", "2"));
}

#[test]
fn a_refused_file_is_not_tried_again_until_it_changes() {
    let scene = scene(&["a.toml"], |at| fs::write(at.join("a.toml"), "1").unwrap());
    *scene.node.on_reload.lock().unwrap() =
        Arc::new(|_| Err(ReloadRefused::new(Refusal::InvalidConfig, "a.toml:1:1: no")));
    scene.write("a.toml", "broken");
    scene.reloads();
    scene.stayed_quiet_until(|| scene.write("a.toml", "fixed"));
}

#[test]
fn a_refused_reload_is_tried_again_when_a_file_that_it_missed_appears() {
    let scene = scene(&["a.toml"], |at| fs::write(at.join("a.toml"), "1").unwrap());
    let node = Arc::downgrade(&scene.node);
    let both = vec![scene.at.join("a.toml"), scene.at.join("certs/b.pem")];
    *scene.node.on_reload.lock().unwrap() = Arc::new(move |_| {
        *node.upgrade().unwrap().files.lock().unwrap() = both.clone();
        let refusal = Refusal::InvalidConfig;
        Err(ReloadRefused::new(refusal, "certs/b.pem does not exist"))
    });
    scene.write("a.toml", "2");
    scene.reloads();
    scene.stayed_quiet_until(|| {
        fs::create_dir(scene.at.join("certs")).unwrap();
        scene.write("certs/b.pem", "1");
    });
}
