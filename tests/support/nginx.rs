//! nginx as an origin: in the foreground, on a unix socket and no port at all.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::process::{Process, tool};
use super::wait_until;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    dir: TempDir,
}

impl Nginx {
    /// Plain HTTP/1.1, with `server` as further directives of the one server.
    #[track_caller]
    pub fn start(server: &str) -> Self {
        Self::listening("", server)
    }

    /// The same with parameters of `listen`, such as `ssl http2` or `proxy_protocol`.
    #[track_caller]
    pub fn listening(parameters: &str, server: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("www")).unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        let d = root.display();
        let user = if is_root() { "user root;\n" } else { "" };
        let config = format!(
            "{user}daemon off;\nworker_processes 1;\npid {d}/nginx.pid;\nerror_log {d}/error.log;\n\
             events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n\
             client_body_temp_path {d}/tmp/b;\nproxy_temp_path {d}/tmp/p;\n\
             fastcgi_temp_path {d}/tmp/f;\nuwsgi_temp_path {d}/tmp/u;\nscgi_temp_path {d}/tmp/s;\n\
             client_max_body_size 64m;\nserver {{ listen unix:{d}/nginx.sock {parameters};\n\
             root {d}/www;\n{server} }} }}\n"
        );
        fs::write(root.join("nginx.conf"), config).unwrap();
        let mut command = tool("nginx");
        command.args([
            "-e",
            &format!("{d}/error.log"),
            "-c",
            &format!("{d}/nginx.conf"),
        ]);
        let nginx = Self {
            process: Process::start(command),
            dir,
        };
        wait_until("nginx listens", || {
            std::os::unix::net::UnixStream::connect(nginx.root().join("nginx.sock")).is_ok()
        });
        nginx
    }

    /// Its scratch directory; files in `www` are served.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Its address as a configuration's endpoint.
    pub fn address(&self) -> String {
        format!("unix:{}", self.root().join("nginx.sock").display())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it on this signal, and would not when the master is killed.
        super::sys::signal(self.process.pid(), super::sys::Signal::Terminate);
        self.process.wait();
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("\nUid:\t0\t")
}
