//! A handle of a task, and everything else of a runtime, stays on its thread: contract S6, GA6 and DB3 are the compiler's
//! business.

use ringio::{CancelledError, Runner, StreamReader, Task, TaskGroup, TcpStream, create_task, gather};

pub fn send_a_task() {
    let task = create_task(async { Ok::<_, CancelledError>(()) });
    std::thread::spawn(move || task.cancel()); //~ cannot be sent between threads safely
}

pub fn gather_those_of_another_thread() {
    let (send, receive) = std::sync::mpsc::channel::<Task<(), CancelledError>>();
    drop(move || send.send(create_task(async { Ok(()) })));
    std::thread::spawn(move || ringio::run(gather(receive))); //~ cannot be sent between threads safely
}

pub fn send_the_rest() {
    fn is_send<T: Send>() {}
    is_send::<ringio::AnyTask>(); //~ cannot be sent between threads safely
    is_send::<TaskGroup<CancelledError>>(); //~ cannot be sent between threads safely
    is_send::<Runner>(); //~ cannot be sent between threads safely
    is_send::<TcpStream>(); //~ cannot be sent between threads safely
    is_send::<StreamReader>(); //~ cannot be sent between threads safely
    is_send::<CancelledError>();
}
