//! What is no future is not run, and a future is no callback: contract RUN6, T2, DB4. asyncio says so when it gets there.

use ringio::{CancelledError, LoopHandle, Runner, Task, TaskGroup, create_task, run, to_thread};

async fn work() -> Result<(), CancelledError> {
    Ok(())
}

pub fn main_is_awaited(mut runner: Runner) {
    let _ = run(work());
    let _ = runner.run(work());
    run(7); //~ `{integer}` is not a future
    run(work); //~ is not a future
    let _ = runner.run(|| work()); //~ is not a future
}

pub fn a_task_is_made_of_a_future(group: &TaskGroup<CancelledError>) {
    create_task(work());
    create_task("work"); //~ `&str` is not a future
    create_task(work); //~ is not a future
    Task::builder().spawn(async || work().await); //~ is not a future
    group.create_task(work());
    group.create_task(7); //~ `{integer}` is not a future
}

pub fn a_callback_is_no_future(task: &Task<(), CancelledError>, handle: &LoopHandle) {
    task.add_done_callback(|_| {});
    task.add_done_callback(work()); //~ expected a `FnOnce(&AnyTask)` closure, found
    task.add_done_callback(async |_| {}); //~ to return `()`, but it returns `{async closure body@
    let _ = handle.call_soon(|| {});
    let _ = handle.call_soon(async {}); //~ expected a `FnOnce()` closure, found
    let _ = handle.call_soon(async || {}); //~ to return `()`, but it returns `{async closure body@
    let _ = to_thread(|| 7);
    let _ = to_thread(work()); //~ expected a `FnOnce()` closure, found
}

pub fn a_result_is_the_tasks_own(task: Task<(), CancelledError>) {
    // T8
    task.set_result(()); //~ no method named `set_result` found
    task.set_exception(CancelledError); //~ no method named `set_exception` found
}
