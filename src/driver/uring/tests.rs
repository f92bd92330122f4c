//! What the kernel has to do for the driver to be right about it.

use std::{
    io::Read,
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use super::super::{Answer, Completion, Config, Driver, Request, Token, Wait, select};
use crate::sys::RingSize;

const PATIENCE: Wait = Wait::AtMost(Duration::from_secs(20));

fn driver() -> Driver {
    let size = RingSize { submission: 8, completion: 16 };
    select(&Config { size, pool: None, profile_max: None, world: None }).expect("a ring")
}

fn send(driver: &mut Driver, number: u32, to: &UnixStream, bytes: &'static [u8]) {
    let len = bytes.len() as u32;
    let request = Request::Send { fd: to.as_raw_fd(), from: bytes.as_ptr(), len };
    // SAFETY: S1: the bytes are static, and the descriptor is open until the test has drained the answer.
    unsafe { driver.push_quietly(Token::standing(number, 0), &request, len) }
}

fn drained(driver: &mut Driver) -> Vec<Completion> {
    let mut all = Vec::new();
    driver.drain(|completion| all.push(completion));
    all
}

#[test]
fn a_quiet_send_that_goes_well_ends_no_wait() {
    // U3
    let mut driver = driver();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    send(&mut driver, 1, &ours, b"quiet");
    let (began, wait) = (Instant::now(), Duration::from_millis(50));
    driver.turn(Wait::AtMost(wait)).unwrap();
    assert!(began.elapsed() >= wait, "the send was told after {:?}", began.elapsed());
    let answers = drained(&mut driver);
    let [answer] = answers[..] else { panic!("one answer, not {answers:?}") };
    assert_eq!(answer.token, Token::standing(1, 0));
    assert!(matches!(answer.answer(), Answer::Done(5)), "{answer:?}");
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"quiet");
}

#[test]
fn a_quiet_send_without_room_says_so_at_once() {
    // U3: whatever cannot be sent is the caller's to send again.
    static BYTES: [u8; 1 << 20] = [7; 1 << 20];
    let mut driver = driver();
    let (ours, peer) = UnixStream::pair().unwrap();
    send(&mut driver, 1, &ours, &BYTES);
    driver.turn(PATIENCE).unwrap();
    let answers = drained(&mut driver);
    let [answer] = answers[..] else { panic!("one answer, not {answers:?}") };
    assert!(matches!(answer.answer(), Answer::Done(1..=1_048_575)), "{answer:?}");
    send(&mut driver, 2, &ours, &BYTES);
    send(&mut driver, 3, &ours, &BYTES);
    driver.turn(PATIENCE).unwrap();
    let answers = drained(&mut driver);
    let [second, third] = answers[..] else { panic!("two answers, not {answers:?}") };
    assert!(matches!((second.answer(), third.answer()), (Answer::NotReady, Answer::NotReady)), "{answers:?}");
    assert!(drained(&mut driver).is_empty(), "answered twice");
    drop(peer);
    send(&mut driver, 4, &ours, &BYTES);
    driver.turn(PATIENCE).unwrap();
    let answers = drained(&mut driver);
    let [answer] = answers[..] else { panic!("one answer, not {answers:?}") };
    assert!(matches!(answer.answer(), Answer::Failed(_) | Answer::Gone(_)), "{answer:?}");
}

#[test]
fn more_quiet_sends_than_the_queues_hold_are_all_answered() {
    // U1, U3
    let mut driver = driver();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    for number in 0..100 {
        send(&mut driver, number, &ours, b"x");
    }
    let mut answers = Vec::new();
    while answers.len() < 100 {
        driver.turn(Wait::AtMost(Duration::from_millis(1))).unwrap();
        answers.extend(drained(&mut driver));
    }
    assert!(answers.iter().all(|answer| matches!(answer.answer(), Answer::Done(1))), "{answers:?}");
    let mut bytes = [0; 100];
    peer.read_exact(&mut bytes).unwrap();
}

#[test]
fn a_quiet_send_is_answered_while_completions_overflow_for_ever() {
    // U3: behind a fence. More is started in each turn than the queue of completions holds.
    let mut driver = driver();
    let (ours, _peer) = UnixStream::pair().unwrap();
    let mut answered = None;
    for turn in 0..500 {
        for number in 0..40 {
            driver.push_nop(Token::new(number, 0));
        }
        if turn == 3 {
            send(&mut driver, 7, &ours, b"quiet");
        }
        driver.turn(Wait::Not).unwrap();
        driver.drain(|answer| {
            if answer.token == Token::standing(7, 0) && answered.replace(turn).is_some() {
                panic!("answered twice");
            }
        });
    }
    assert!(answered.is_some_and(|turn| turn >= 3), "not answered in 500 turns");
}
