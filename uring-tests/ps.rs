//! `ringio-ps` looks at a program: this test binary again, in a process of its own, which runs a tree of tasks that is
//! known. It says on its output when the tree stands, and ends when its input does.

use std::{
    cell::RefCell,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    process::{Child, ChildStdin, Command, Output, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::unistd::{dup, geteuid};
use ringio::{
    Barrier, CancelledError, Condition, Descriptor, Event, Lock, Mailbox, Mutex, Queue, Runner, Semaphore, Task,
    TcpListener, sleep, to_thread,
};

const VARIABLE: &str = "RINGIO_PS_SCENARIO";
const INSPECT: &str = "RINGIO_INSPECT";
const LONG: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);

type Ended = Result<(), CancelledError>;

// ---- the program that is looked at

/// The entry of the child processes; nothing in the parent.
#[test]
fn scenario() {
    let Ok(name) = env::var(VARIABLE) else { return };
    match name.as_str() {
        "tree" => runner(None).run(tree()),
        "circles" => runner(None).run(circles()),
        "waits" => runner(None).run(waits()),
        "busy" => runner(None).run(busy()),
        "by_option" => runner(Some(true)).run(idle()),
        "refused_by_option" => runner(Some(false)).run(idle()),
        "two_threads" => two_threads(),
        other => panic!("there is no scenario {other}"),
    }
}

fn runner(inspect: Option<bool>) -> Runner {
    let mut builder = Runner::builder().shutdown_timeout(Duration::from_secs(5));
    if let Some(inspect) = inspect {
        builder = builder.inspect(inspect);
    }
    builder.build().unwrap()
}

/// Two children that main awaits, one of which awaits two of its own; one that nobody awaits.
async fn tree() {
    let end = Task::builder().name("end").spawn(ready_until_asked_to_end());
    let main = Task::builder().name("top").spawn(top());
    Task::builder().name("accepter").spawn(accepter());
    Task::builder()
        .name("odd \t name\n")
        .spawn(async { ringio::timeout(2 * LONG, async |_| io::Result::Ok(sleep(LONG).await?)).await });
    let _ = end.await;
    main.cancel();
    let _ = main.await;
}

async fn top() -> Ended {
    let middle = Task::builder().name("middle").spawn(middle());
    middle.await
}

async fn middle() -> Ended {
    let left = Task::builder().name("left").spawn(sleeper());
    let right = Task::builder().name("right").spawn(sleeper());
    let (left, right) = futures::join!(left, right);
    left.and(right)
}

async fn sleeper() -> Ended {
    sleep(LONG).await
}

async fn accepter() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listener {}", number_of(&listener));
    listener.accept().await.map(drop)
}

/// The descriptor of a listener, by the port it listens on: the last one this process has opened.
fn number_of(listener: &TcpListener) -> i32 {
    let port = listener.local_addr().unwrap().port();
    let sockets =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    sockets.filter(|fd| port_of(*fd) == Some(port)).max().expect("the listener's descriptor")
}

fn port_of(fd: i32) -> Option<u16> {
    use nix::sys::socket::{SockaddrIn, getsockname};
    getsockname::<SockaddrIn>(fd).ok().map(|address| address.port())
}

async fn idle() {
    let _ = ready_until_asked_to_end().await;
}

/// Says that everything stands after some turns, and waits for the end of the input.
async fn ready_until_asked_to_end() -> Ended {
    for _ in 0..10 {
        ringio::yield_now().await?;
    }
    println!("ready");
    let input = Descriptor::new(dup(io::stdin()).unwrap());
    let _ = input.read(vec![0u8; 1]).await;
    Ok(())
}

/// A task for each thing of this crate that may be waited for without the kernel, with the name of the call.
async fn waits() {
    fn task<R>(name: &str, wait: impl Future<Output = R> + 'static) {
        let body = async {
            wait.await;
            Ok::<_, CancelledError>(())
        };
        Task::builder().name(name).spawn(body);
    }
    let lock = Lock::new();
    let _held = lock.acquire().await;
    for name in ["Lock.acquire", "also Lock.acquire"] {
        let lock = lock.clone();
        task(name, async move { lock.acquire().await.map(drop) });
    }
    task("Mutex.acquire", async {
        let mutex = Mutex::new(());
        let _held = mutex.acquire().await;
        mutex.acquire().await.map(drop)
    });
    task("Semaphore.acquire", async { Semaphore::new(0).acquire().await.map(drop) });
    task("Event.wait", async { Event::new().wait().await });
    task("Condition.wait", async { Condition::new().acquire().await?.wait().await });
    task("Barrier.wait", async { Barrier::new(2).unwrap().wait().await });
    let full = Queue::new(1);
    full.put_nowait(1).unwrap();
    let joined = full.clone();
    task("Queue.get", async { Queue::<u8>::unbounded().get().await });
    task("Queue.put", async move { full.put(2).await });
    task("Queue.join", async move { joined.join().await });
    let (mut mailbox, full) = (Mailbox::<u8>::unbounded(), Mailbox::new(1));
    let (_sender, other) = (mailbox.sender(), full.sender());
    other.put_nowait(1).unwrap();
    task("Mailbox.get", async move { mailbox.get().await });
    task("MailboxSender.put", async move { other.put(2).await });
    let (end, ended) = std::sync::mpsc::channel::<()>();
    task("to_thread", to_thread(move || ended.recv()));
    let _ = ready_until_asked_to_end().await;
    drop(end);
}

/// Two tasks that await each other, and would never end.
async fn circles() {
    let place: Rc<RefCell<Option<Task<(), CancelledError>>>> = Rc::default();
    let handle = place.clone();
    let first = Task::builder().name("first").spawn(async move {
        let second = handle.take().expect("put there before the first step");
        second.await
    });
    let second = Task::builder().name("second").spawn(first);
    place.replace(Some(second));
    let _ = ready_until_asked_to_end().await;
    // Their cancels would go round and round until the runner gives up.
    std::process::exit(0);
}

/// Keeps the loop busy until the end of the input.
async fn busy() {
    for _ in 0..10 {
        let _ = ringio::yield_now().await;
    }
    println!("ready");
    let _ = io::stdin().read(&mut [0]);
}

fn two_threads() {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (end, ended) = futures::channel::oneshot::channel::<()>();
    let other = std::thread::spawn(move || {
        runner(None).run(async {
            Task::builder().name("elsewhere").spawn(sleeper());
            let _ = ringio::yield_now().await;
            ready.send(()).unwrap();
            let _ = ended.await;
        });
    });
    is_ready.recv().unwrap();
    let _ = runner(None).run(ready_until_asked_to_end());
    end.send(()).unwrap();
    other.join().unwrap();
}

// ---- who looks

struct Program {
    child: Child,
    input: Option<ChildStdin>,
    /// What it said before it was ready.
    said: String,
}

impl Program {
    /// Starts a scenario and waits until it is ready.
    fn start(scenario: &str, inspect: Option<&str>) -> Program {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["scenario", "--exact", "--nocapture", "--test-threads=1"]).env(VARIABLE, scenario);
        command.env_remove(INSPECT).envs(inspect.map(|value| (INSPECT, value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, mut output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut said = String::new();
        while !said.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut said).unwrap(), 0, "{scenario} ended before it was ready: {said}");
        }
        // What it says after that is not read: it is less than a pipe holds.
        std::mem::forget(output);
        Program { child, input, said }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn end(mut self) {
        drop(self.input.take());
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "it does not end when its input does");
            std::thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ringio_ps(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringio-ps")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn shown(arguments: &[&str]) -> String {
    let output = ringio_ps(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The complaint of a call that fails with status 1, and says nothing else.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = ringio_ps(arguments);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The cells of a row, by where the columns begin in the first line.
fn cells(table: &str, name: &str) -> Vec<Vec<String>> {
    let mut lines = table.lines();
    let titles = [
        "tid",
        "task id",
        "task name",
        "coroutine stack",
        "awaiter chain",
        "awaiter name",
        "awaiter id",
        "idle",
        "waits for",
    ];
    let first = lines.next().unwrap();
    let starts: Vec<usize> = titles.iter().map(|title| first.find(title).unwrap()).collect();
    let cell = |line: &str, column: usize| {
        let end = starts.get(column + 1).copied().unwrap_or(usize::MAX);
        let letters = line.chars().skip(starts[column]).take(end.saturating_sub(starts[column]));
        letters.collect::<String>().trim().to_owned()
    };
    let rows = lines.skip(1).map(|line| (0..titles.len()).map(|column| cell(line, column)).collect::<Vec<_>>());
    rows.filter(|row| row[2] == name).collect()
}

#[test]
fn the_table_has_every_task_and_what_it_waits_for() {
    // IN5
    let program = Program::start("tree", Some("1"));
    let table = shown(&["ps", &program.pid()]);
    let only = |name: &str| {
        let mut rows = cells(&table, name);
        assert_eq!(rows.len(), 1, "{name} in\n{table}");
        rows.remove(0)
    };
    let (top, middle, left, right) = (only("top"), only("middle"), only("left"), only("right"));
    assert_eq!(top[0], middle[0], "one thread");
    assert!(top[3].starts_with("ps::top uring-tests/ps.rs:"), "{table}");
    assert_eq!(top[4..7], ["", "", ""]);
    assert_eq!(top[8], format!("task {}", middle[1]));
    assert_eq!(middle[4..7], ["top", "top", top[1].as_str()]);
    assert_eq!(middle[8], format!("task {}; task {}", left[1], right[1]));
    for sleeper in [&left, &right] {
        assert_eq!(sleeper[4..7], ["middle -> top", "middle", middle[1].as_str()]);
        assert!(sleeper[8].starts_with("sleep 35"), "{table}");
    }
    for row in [&top, &middle, &left, &right] {
        let idle: f64 = row[7].strip_suffix(" s").unwrap().parse().unwrap();
        assert!((0.0..PATIENCE.as_secs_f64()).contains(&idle), "{table}");
    }
    let listener = program.said.lines().find_map(|line| Some(line.split_once("listener ")?.1)).unwrap();
    assert_eq!(only("accepter")[8], format!("accept fd {listener}"));
    let odd = only("odd \\t name\\n");
    assert!(odd[8].starts_with("sleep 35") && odd[8].contains("; timeout 7"), "{table}");
    assert!(only("end")[8].starts_with("read fd "), "{table}");
    assert_eq!(table.lines().count(), 2 + 8, "the asking itself is no task:\n{table}");
    program.end();
}

#[test]
fn waits_without_the_kernel_are_named() {
    // IN5
    let program = Program::start("waits", Some("1"));
    let table = shown(&["ps", &program.pid()]);
    let tree = shown(&["pstree", &program.pid()]);
    let made = [
        "Lock.acquire",
        "Mutex.acquire",
        "Semaphore.acquire",
        "Event.wait",
        "Condition.wait",
        "Barrier.wait",
        "Queue.get",
        "Queue.put",
        "Queue.join",
    ];
    for name in made.into_iter().chain(["Mailbox.get", "MailboxSender.put", "to_thread"]) {
        let waits = &cells(&table, name)[0][8];
        let expected =
            if made.contains(&name) { format!("{name} (made at uring-tests/ps.rs:") } else { name.to_owned() };
        assert!(waits.starts_with(&expected), "{name}: {waits}");
        assert!(tree.contains(&format!(", {waits} (idle ")), "{waits} in\n{tree}");
    }
    assert!(cells(&table, "also Lock.acquire")[0][8].ends_with(", 1 before it)"), "{table}");
    program.end();
}

#[test]
fn the_tree_shows_who_awaits_whom() {
    // IN6
    let program = Program::start("tree", Some("1"));
    let tree = shown(&["pstree", &program.pid()]);
    let tasks: Vec<&str> = tree.lines().filter(|line| line.contains("(T)")).collect();
    let expected = [
        "└── (T) Task-1",
        "        └── (T) end",
        "└── (T) top",
        "        └── (T) middle",
        "                ├── (T) left",
        "                └── (T) right",
        "└── (T) accepter",
        "└── (T) odd \\t name\\n",
    ];
    assert_eq!(tasks, expected, "{tree}");
    let stack = tree.lines().find(|line| line.contains("ps::middle uring-tests/ps.rs:")).unwrap();
    assert!(stack.starts_with("            └── ps::middle ") && stack.contains(", task "), "{tree}");
    program.end();
}

#[test]
fn a_circle_is_shown_by_the_table_and_refused_by_the_tree() {
    // IN8
    let program = Program::start("circles", Some("1"));
    let table = shown(&["ps", &program.pid()]);
    assert_eq!(cells(&table, "first")[0][4], "second -> first -> second", "{table}");
    let complaint = refused(&["pstree", &program.pid()]);
    assert!(complaint.contains("in a circle") && complaint.contains("\n  first -> second -> first"), "{complaint}");
    program.end();
}

#[test]
fn every_runtime_of_the_process_is_asked() {
    let program = Program::start("two_threads", Some("1"));
    let table = shown(&["ps", &program.pid()]);
    let threads: std::collections::BTreeSet<&str> =
        table.lines().skip(2).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((threads.len(), cells(&table, "elsewhere").len()), (2, 1), "{table}");
    program.end();
}

#[test]
fn a_program_answers_only_where_it_was_allowed_to() {
    for (scenario, variable) in [("tree", None), ("tree", Some("0")), ("refused_by_option", Some("1"))] {
        let program = Program::start(scenario, variable);
        let complaint = refused(&["ps", &program.pid()]);
        assert!(complaint.contains("start it with RINGIO_INSPECT=1"), "{scenario}: {complaint}");
        program.end();
    }
    let program = Program::start("by_option", None);
    assert_eq!(shown(&["ps", &program.pid()]).lines().count(), 3);
    program.end();
}

#[test]
fn a_process_that_is_not_there_is_named() {
    // IN7
    let program = Program::start("tree", Some("1"));
    let pid = program.pid();
    program.end();
    assert_eq!(refused(&["ps", &pid]), format!("ringio-ps: there is no process {pid}\n"));
    assert_eq!(refused(&["pstree", &pid]), format!("ringio-ps: there is no process {pid}\n"));
}

#[test]
fn a_loop_that_is_kept_busy_is_said_to_be() {
    // IN7: nothing runs in a task, so nothing answers while one does not let go.
    let program = Program::start("busy", Some("1"));
    let complaint = refused(&["ps", &program.pid()]);
    assert!(complaint.contains("does not answer within 5 s: a task keeps its loop busy"), "{complaint}");
    program.end();
}

#[test]
fn another_user_is_refused_with_a_hint() {
    // IN7
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only the superuser can become another user");
        return;
    }
    let program = Program::start("tree", Some("1"));
    // Where another user can start it from.
    let folder = env::temp_dir().join(format!("ringio-ps-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join("ringio-ps");
    fs::copy(env!("CARGO_BIN_EXE_ringio-ps"), &copy).unwrap();
    let output = Command::new(&copy).args(["ps", &program.pid()]).uid(65534).gid(65534).current_dir("/").output();
    fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{complaint}");
    assert!(complaint.contains("permission denied") && complaint.contains("as root"), "{complaint}");
    program.end();
}

#[test]
fn half_an_answer_is_asked_for_again_so_many_times() {
    // IN7: we are the program that breaks off.
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    let pid = std::process::id();
    let name = format!("ringio/{pid}/1/0");
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            listener.accept().unwrap().0.write_all(b"ringio 1 1\ntask\t1\tcut").unwrap();
        }
        listener.accept().unwrap().0.write_all(b"ringio 1 1\nend\n").unwrap();
    });
    let complaint = refused(&["ps", &pid.to_string(), "--retries", "1"]);
    assert!(complaint.contains("what is no task") && complaint.contains("more --retries"), "{complaint}");
    // The third is cut off as well, the fourth is whole: an empty table.
    assert_eq!(shown(&["ps", "--retries", "1", &pid.to_string()]).lines().count(), 2);
    server.join().unwrap();
}

#[test]
fn a_slow_reader_delays_nobody() {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr, unix::net::UnixStream};
    let program = Program::start("by_option", None);
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let begin = format!("@ringio/{}/", program.pid());
    let mut names = sockets.lines().filter_map(|line| line.split_whitespace().last());
    let name = &names.find(|name| name.starts_with(&begin)).unwrap()[1..];
    let address = SocketAddr::from_abstract_name(name).unwrap();
    // They say nothing, read nothing, and stay.
    let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect_addr(&address).unwrap()).collect();
    assert_eq!(shown(&["ps", &program.pid()]).lines().count(), 3);
    program.end();
    drop(silent);
}
