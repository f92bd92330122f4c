//! Does the harness see what it must see? The comparison in small, as its users run it: raw servers and peers echo
//! under load with every byte verified, and a server that changes one byte is caught.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringio-bench")).args(arguments).output().unwrap()
}

/// One short round. Without real-time priority: tests run beside each other.
fn echo(servers: &str, cells: &str) -> String {
    let output = bench(&[
        "compare",
        "echo",
        "--servers",
        servers,
        "--cells",
        cells,
        "--rounds",
        "1",
        "--seconds",
        "0.4",
        "--fifo",
        "off",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Pipelined and not, more in flight than there are buffers, and more connections than a batch.
const CELLS: &str = "C1:64:1,C50:64:16,C40:16384:16,C300:1024:1";

#[test]
fn raw_servers_echo_what_they_are_sent() {
    let text = echo("raw-epoll,raw-oneshot,raw-multishot,raw-incremental", CELLS);
    assert!(!text.contains("FAILED"), "{text}");
}

#[test]
fn peers_echo_what_they_are_sent() {
    let text = echo("tokio,compio,compio-defer,monoio,monoio-defer,glommio,tokio-uring,smol,smol-global", CELLS);
    assert!(!text.contains("FAILED"), "{text}");
}

#[test]
fn ringio_echoes_what_it_is_sent() {
    let text = echo("ringio-stream,ringio-owned", CELLS);
    assert!(!text.contains("FAILED"), "{text}");
}

#[test]
fn corrupted_byte_fails_the_run() {
    let text = echo("corrupt", "C2:1024:1");
    assert!(text.contains("FAILED corrupt C2:1024:1") && text.contains("wrong bytes came back"), "{text}");
}

#[test]
fn children_are_measured_on_each_runtime() {
    let output = bench(&["compare", "subprocess", "--quick", "--rounds", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("FAILED"), "{text}");
    assert_eq!(text.matches("ringio / best peer").count(), 6, "{text}");
}

#[test]
fn idle_and_stream_have_a_figure_for_each_server() {
    let servers = "raw-epoll,raw-oneshot,raw-multishot,raw-incremental,tokio";
    let idle =
        bench(&["compare", "idle", "--servers", servers, "--connections", "200", "--rounds", "1", "--fifo", "off"]);
    let text = String::from_utf8(idle.stdout).unwrap();
    assert!(servers.split(',').all(|server| text.contains(server)) && !text.contains("FAILED"), "{text}");
    let stream = bench(&["compare", "stream", "--servers", servers, "--quick", "--rounds", "1", "--fifo", "off"]);
    let text = String::from_utf8(stream.stdout).unwrap();
    assert!(stream.status.success() && !text.contains("FAILED"), "{text}");
}

#[test]
fn losses_are_seen_where_there_are_some() {
    let arguments = [
        "compare",
        "loss",
        "--servers",
        "ringio,tokio,tokio-uring",
        "--rows",
        "2,4,8i,9",
        "--rounds",
        "30",
        "--fifo",
        "off",
    ];
    let output = bench(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let row = |number: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(number)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().rev().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    // From the last column to the first one.
    assert_eq!(row("2 "), ["3/3", "3/3", "0/3"], "{text}");
    assert_eq!(row("4 "), ["no", "borrowed", "yes"], "{text}");
    assert_eq!(row("8i ")[1..], ["30/30", "0/30"], "{text}");
    assert_eq!(row("9 ")[2], "0", "{text}");
}
