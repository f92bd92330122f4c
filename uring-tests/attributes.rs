//! What the attributes make of a function. Their misuses are in `ui/`.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use ringio::{
    CancelledError, create_task, current_task, driver_report, sleep,
    testing::{self, Faults, Sim},
};

#[ringio::test]
async fn test_runs_in_a_task_on_the_real_ring() -> io::Result<()> {
    assert!(current_task().is_some());
    assert_eq!(driver_report()?.driver, "io_uring");
    let length: usize = "5".parse().map_err(io::Error::other)?;
    assert_eq!(create_task(async move { Ok::<_, CancelledError>(length) }).await?, 5);
    Ok(())
}

#[ringio::test]
#[should_panic(expected = "out of the task")]
async fn test_fails_when_its_body_panics() {
    sleep(Duration::ZERO).await.unwrap();
    panic!("out of the task");
}

#[ringio::test(timeout = 20)]
async fn test_within_its_time_returns() -> io::Result<()> {
    Ok(sleep(Duration::from_millis(1)).await?)
}

#[ringio::test(timeout = 0.01)]
#[should_panic(expected = "the test has not ended within 0.01 s; its tasks:\nTask-")]
async fn test_beyond_its_time_fails_with_its_tasks() {
    sleep(Duration::from_secs(3600)).await.unwrap();
}

#[ringio::test(virtual_time, timeout = 7200)]
async fn time_of_a_test_is_virtual_with_virtual_time() {
    sleep(Duration::from_secs(3600)).await.unwrap();
}

#[ringio::test(seed = 7, timeout = 60)]
#[should_panic(expected = "within 60 s")]
async fn test_beyond_its_virtual_time_fails() {
    sleep(Duration::from_secs(3600)).await.unwrap();
}

mod returned {
    #[ringio::main]
    pub(super) async fn main() -> Result<u32, std::num::ParseIntError> {
        ringio::sleep(std::time::Duration::ZERO).await.expect("nobody cancels it");
        let number: u32 = "7".parse()?;
        "x".parse().map(|more: u32| number + more)
    }
}

#[test]
fn main_returns_what_its_body_returns() {
    assert_eq!(returned::main(), Err("x".parse::<u32>().unwrap_err()));
}

#[ringio::test(virtual_time)]
async fn virtual_time_jumps_to_the_next_timer() -> Result<(), CancelledError> {
    let day = Duration::from_secs(24 * 3600);
    sleep(day).await?;
    assert_eq!(testing::elapsed(), day);
    Ok(())
}

#[ringio::test(virtual_time)]
#[should_panic]
async fn virtual_time_does_not_hang() {
    std::future::pending::<()>().await;
}

/// The order in which tasks take their first step.
async fn order() -> Vec<usize> {
    let order = Rc::new(RefCell::new(Vec::new()));
    for number in 0..10 {
        let order = order.clone();
        create_task(async move { order.borrow_mut().push(number) });
    }
    testing::turns(3).await.unwrap();
    order.take()
}

#[ringio::test(virtual_time)]
async fn virtual_time_keeps_the_order() {
    assert!(order().await.is_sorted());
}

const SEED: u64 = 7;

#[ringio::test(virtual_time, seed = 7)]
async fn seed_draws_the_order_and_no_faults() {
    let expected = || Sim::new(SEED).faults(Faults::empty()).shuffle_tasks().run(order());
    // On a thread of its own: here a runtime runs already.
    let expected = std::thread::spawn(expected).join().unwrap();
    let order = order().await;
    assert!(!order.is_sorted(), "{order:?}");
    assert_eq!(order, expected);
}

/// One that arms short transfers and breaks nothing.
const HOSTILE_SEED: u64 = 42;

#[ringio::test(seed = 42, faults)]
async fn faults_are_those_of_the_seed() {
    let hostile = || Sim::new(HOSTILE_SEED).shuffle_tasks().report(moved());
    let hostile = std::thread::spawn(hostile).join().unwrap();
    assert!(hostile.armed.contains(Faults::SHORT), "choose a seed that arms short transfers: {:?}", hostile.armed);
    let pieces = moved().await;
    assert!(pieces.len() > 1, "{pieces:?}");
    assert_eq!(pieces, hostile.output);
}

/// How many bytes each read of a pipe gives, of 4096 that were written to it.
async fn moved() -> Vec<usize> {
    let (reader, writer) = testing::pipe().unwrap();
    let mut written = 0;
    while written < 4096 {
        written += writer.write(vec![b'x'; 4096 - written]).await.0.unwrap();
    }
    let mut pieces: Vec<usize> = Vec::new();
    while pieces.iter().sum::<usize>() < 4096 {
        pieces.push(reader.read(Vec::with_capacity(4096)).await.0.unwrap());
    }
    pieces
}
