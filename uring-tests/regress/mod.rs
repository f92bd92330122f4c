//! The bugs that other runtimes had, or that ringio itself had, each with the test that keeps it away. The rows are those of
//! the project's list of lessons, in their order; a test of this folder stands in a file that is named after its row.

mod row01_freed_before_the_ring;
mod row06_wake_that_blocks;
mod row07_references_of_a_waker;
mod row18_both_modes_of_a_descriptor;
mod row19_lengths_over_four_gigabytes;
mod row21_bytes_outside_of_what_was_received;
mod row22_buffer_used_again_at_once;
mod row24_fork_and_exec;
mod row29_indices_that_wrap;
mod row31_worker_threads;

use std::{fs, path::Path};

/// Where a row is pinned.
enum Pin {
    /// A test of this binary: its path.
    Test(&'static str),
    /// A test inside of the library: its file, and its name.
    Unit(&'static str, &'static str),
    /// An example that must not compile: the file whose documentation it stands in.
    Refused(&'static str),
}

use Pin::{Refused, Test, Unit};

/// Row, bug, pins.
const ROWS: &[(u8, &str, &[Pin])] = &[
    (
        1,
        "buffers in flight freed before the ring",
        &[
            Test(
                "regress::row01_freed_before_the_ring::memory_of_reads_in_flight_is_untouched_after_their_runtime_is_gone",
            ),
            Test("promise::teardown::memory_of_a_dropped_operation_stays_lent_until_the_kernel_is_done"),
            Test("promise::teardown::futures_kept_past_the_end_of_their_runtime_are_harmless"),
        ],
    ),
    (
        2,
        "a safe API that lets the caller free memory in use",
        &[
            Refused("src/buf/mod.rs"),
            Test("promise::teardown::forgotten_futures_keep_what_they_lent_and_close_nothing_early"),
            Test("contract::forget::operations_of_a_pipe"),
            Test("contract::forget::reads_and_writes_of_a_connection"),
        ],
    ),
    (
        3,
        "an operation's state dropped at once on a cancel; a task used after it was freed by a wake",
        &[
            Unit("src/op/table.rs", "an_abandoned_operation_keeps_its_slot_until_the_final_completion"),
            Unit("src/executor/cell/tests.rs", "wakers_outlive_their_task_and_its_home_on_other_threads"),
            Test("contract::wakes::wakes_from_eight_threads_while_the_task_ends"),
        ],
    ),
    (
        4,
        "a future dropped on the wrong thread",
        &[
            Test("contract::wakes::wakers_work_after_their_task_and_their_runtime_are_gone"),
            Test("contract::wakes::wakes_from_eight_threads_while_the_runtime_goes"),
        ],
    ),
    (
        5,
        "a wake from another thread lost",
        &[
            Test("contract::wakes::last_wake_is_never_lost_between_two_sleeping_loops"),
            Test("contract::wakes::oneshot_from_eight_threads_reaches_every_task"),
            Test("contract::wakes::wake_from_a_thread_reaches_a_loop_that_goes_to_sleep"),
        ],
    ),
    (
        6,
        "a wake that blocks",
        &[
            Test("regress::row06_wake_that_blocks::wakes_under_a_lock_that_the_loop_needs_as_well"),
            Test("contract::wakes::a_million_wakes_from_a_thread_while_the_loop_runs"),
        ],
    ),
    (
        7,
        "the count of a waker's references overflows, or goes below zero",
        &[Test("regress::row07_references_of_a_waker::hundred_thousand_clones_of_one_waker")],
    ),
    (
        8,
        "a descriptor leaked by a cancelled accept or connect",
        &[
            Test("promise::accepting::accept_ended_at_any_stage_leaves_the_connection_to_the_next"),
            Test("promise::accepting::connect_ended_at_any_stage_leaks_nothing"),
            Test("promise::accepting::connections_nobody_accepted_are_closed_with_their_listener"),
        ],
    ),
    (
        9,
        "a provided buffer leaked by a cancel or a late completion",
        &[Test("promise::pool::cancelled_reads_with_data_arriving_keep_every_buffer")],
    ),
    (
        10,
        "the completion queue overflows and the loop hangs",
        &[
            Test("promise::queues::ten_thousand_operations_fit_through_tiny_queues"),
            Test("promise::queues::burst_of_messages_overflows_nothing_away"),
            Test("promise::queues::burst_of_connections_overflows_none_away"),
        ],
    ),
    (
        11,
        "the submission queue is full and a cancel is lost",
        &[
            Test("promise::queues::every_cancel_gets_through_tiny_queues"),
            Test("promise::queues::dropped_operations_end_in_tiny_queues"),
        ],
    ),
    (
        12,
        "EBUSY, EAGAIN, EINTR from enter strand what was queued",
        &[
            Test("environments::enters::enter_that_has_no_memory_for_now_is_tried_again"),
            Test("environments::enters::enter_that_has_no_room_for_completions_is_tried_again"),
            Test("environments::enters::enter_that_is_interrupted_is_as_good_as_any"),
        ],
    ),
    (
        13,
        "EINTR and EAGAIN of an operation taken for its end",
        &[
            Test("promise::hardship::storm_of_signals_disturbs_nothing"),
            Unit("src/driver/completion.rs", "an_interrupted_operation_counts_as_cancelled"),
        ],
    ),
    (
        14,
        "the end of a runtime leaks or hangs",
        &[
            Test("promise::teardown::thousand_runtimes_dropped_with_operations_in_flight_leave_nothing"),
            Test("promise::teardown::runtime_dropped_with_hundreds_of_operations_in_flight_leaves_nothing"),
        ],
    ),
    (
        15,
        "a late or second completion reaches a slot's next operation",
        &[
            Unit("src/op/table.rs", "a_late_completion_does_not_reach_the_slots_next_operation"),
            Unit("src/op/table.rs", "a_forged_second_completion_changes_nothing"),
        ],
    ),
    (
        16,
        "an operation acts on a number that was given to another file",
        &[
            Test("promise::numbers::dropped_read_never_takes_the_bytes_of_the_next_descriptor"),
            Test("promise::numbers::dropped_connection_never_takes_the_bytes_of_the_next"),
        ],
    ),
    (
        17,
        "a close with a receive in flight sends no end",
        &[Test("promise::numbers::peer_sees_the_end_at_once_when_a_stream_with_an_armed_receive_is_dropped")],
    ),
    (
        18,
        "descriptors in blocking and in non-blocking mode",
        &[
            Test("regress::row18_both_modes_of_a_descriptor::connections_in_either_mode_wait_and_let_others_run"),
            Test("regress::row18_both_modes_of_a_descriptor::pipes_in_either_mode_wait_and_let_others_run"),
            Test("environments::inherited::standard_input_that_does_not_block_is_waited_for_and_left_as_it_was"),
        ],
    ),
    (
        19,
        "lengths over 32 bits wrap",
        &[Test("regress::row19_lengths_over_four_gigabytes::transfers_of_four_gigabytes_are_cut_and_never_wrap")],
    ),
    (
        20,
        "the pool released while a buffer of it is held",
        &[
            Test("promise::pool::leases_outlive_their_runtime"),
            Test("promise::pool::leases_come_home_from_other_threads"),
            Unit("src/buf/pool.rs", "a_lease_comes_back_from_another_thread_and_outlives_the_pool"),
        ],
    ),
    (
        21,
        "bytes that nobody received are shown",
        &[
            Test(
                "regress::row21_bytes_outside_of_what_was_received::windows_receive_inside_their_bounds_and_say_how_much",
            ),
            Unit("src/buf/slice.rs", "receiving_into_a_window_keeps_what_stands_before_it"),
        ],
    ),
    (
        22,
        "a buffer handed back before the kernel is done with it",
        &[Test("regress::row22_buffer_used_again_at_once::buffers_written_over_as_soon_as_they_come_back")],
    ),
    (
        23,
        "SIGPIPE",
        &[
            Test("promise::hardship::writes_to_a_peer_that_is_gone_do_not_kill"),
            Test("promise::hardship::writes_to_a_pipe_that_is_gone_do_not_kill"),
        ],
    ),
    (
        24,
        "fork and exec",
        &[
            Test("regress::row24_fork_and_exec::program_that_is_started_gets_no_descriptor_of_ours"),
            Test("regress::row24_fork_and_exec::runtime_used_on_after_a_fork_dies_loudly_and_leaves_its_parent_alone"),
        ],
    ),
    (
        25,
        "locked memory is short, and comes back late",
        &[
            Test("environments::limits::rings_made_and_dropped_in_a_loop_fit_into_little_locked_memory"),
            Test("environments::limits::no_locked_memory_at_all_is_one_clear_error"),
        ],
    ),
    (
        26,
        "an idle loop looks like a core that waits for a disk",
        &[Test("environments::filters::every_wait_is_marked_as_no_wait_for_a_disk")],
    ),
    (
        27,
        "timers in the wrong order, zero ones, endless ones",
        &[
            Unit("src/executor/timers.rs", "a_random_history_agrees_with_a_sorted_list"),
            Unit("src/executor/timers.rs", "a_timer_never_fires_early"),
            Test("contract::scheduling::endless_and_tiny_delays_are_fine"),
            Test("contract::scheduling::equal_deadlines_fire_in_the_order_they_were_made"),
        ],
    ),
    (
        28,
        "panics in a poll, in a destructor, in the end of a runtime",
        &[
            Test("contract::panics::in_a_step"),
            Test("contract::panics::in_a_destructor_during_a_step"),
            Test("contract::panics::in_a_destructor_of_a_body_dropped_by_the_close"),
        ],
    ),
    (
        29,
        "indices of rings wrap",
        &[
            Test("regress::row29_indices_that_wrap::buffer_ring_goes_on_after_its_index_has_wrapped"),
            Unit("src/op/table.rs", "a_slot_with_used_up_generations_is_retired"),
        ],
    ),
    (
        30,
        "children: races near their exit, zombies",
        &[Test("promise::children::a_storm_of_children_leaves_nothing_behind")],
    ),
    (
        31,
        "a thread of the kernel's for each operation",
        &[Test("regress::row31_worker_threads::thousand_waits_take_no_thread")],
    ),
    (
        32,
        "versions of the kernel asked for in place of what it can",
        &[
            Test("environments::inherited::everything_works_in_every_profile"),
            Test("environments::inherited::profile_in_the_environment_is_the_one_that_is_used"),
        ],
    ),
    (
        33,
        "flush and shutdown: bytes that were taken are delivered, or an error says that they were not",
        &[
            Test("promise::sending::cancelled_drains_tear_no_stream"),
            Test("promise::soak::every_byte_is_accounted_for_under_random_cancels"),
            Test("contract::flaws::write_without_drain_is_an_error_once_the_connection_is_lost"),
        ],
    ),
];

const LAST: u8 = 33;

#[test]
fn every_row_is_pinned_by_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let numbers: Vec<u8> = ROWS.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=LAST).collect::<Vec<_>>());
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (number, bug, pins) in ROWS {
        assert!(!pins.is_empty(), "row {number}, {bug}: no test");
        for pin in *pins {
            let (path, found) = match pin {
                Test(test) => {
                    let (module, name) = test.rsplit_once("::").expect("module::test");
                    let path = format!("uring-tests/{}.rs", module.replace("::", "/"));
                    let found = has_test(&text(&path), name);
                    (path, found)
                }
                Unit(path, name) => ((*path).to_owned(), has_test(&text(path), name)),
                Refused(path) => ((*path).to_owned(), text(path).contains("```compile_fail")),
            };
            assert!(found, "row {number}, {bug}: its test is not in {path} any more; name the one that took its place");
        }
    }
}

/// Whether a function is there and is a test.
fn has_test(text: &str, name: &str) -> bool {
    let function = format!("fn {name}()");
    let mut lines = text.lines().map(str::trim);
    let mut before = "";
    lines.any(|line| {
        let is_it = line.starts_with(&function) && before == "#[test]";
        before = line;
        is_it
    })
}
