//! The throwaway server as seen from outside the process that started it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countersign::throwaway::{ThrowawayOptions, ThrowawayPostgres};

const CHILD: &str = "COUNTERSIGN_TEST_THROWAWAY_CHILD";

/// Does nothing unless started by the test below; then it starts a server and waits to be killed.
#[test]
fn child_that_starts_a_server() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let server = ThrowawayPostgres::start(&ThrowawayOptions::default()).expect("server");
    println!("\nSERVER {} {}", server.port(), server.socket_directory().display());
    std::thread::park();
}

#[test]
fn the_server_ends_when_its_starter_is_killed() {
    let mut child = Command::new(std::env::current_exe().expect("this test binary"))
        .args(["--exact", "throwaway::child_that_starts_a_server", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("child");
    let output = BufReader::new(child.stdout.take().expect("output"));
    let line = output.lines().map_while(Result::ok).find(|line| line.starts_with("SERVER ")).expect("server line");
    let mut words = line.split(' ').skip(1);
    let port: u16 = words.next().and_then(|word| word.parse().ok()).expect("port");
    let home = Path::new(words.next().expect("directory")).to_owned();
    assert!(home.exists() && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    child.kill().expect("SIGKILL");
    child.wait().expect("end of the child");
    let begin = Instant::now();
    while home.exists() || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the server outlives its starter");
        std::thread::yield_now();
    }
}
