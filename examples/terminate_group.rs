//! asyncio's example of ending a task group: one of its tasks fails on purpose.

use std::{fmt, time::Duration};

use ringio::{CancelledError, GroupError, TaskError, TaskGroup, sleep};

#[derive(Debug)]
enum JobError {
    /// Raised to terminate a task group.
    Terminate,
    Cancelled(CancelledError),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for JobError {}

impl From<CancelledError> for JobError {
    fn from(cancelled: CancelledError) -> JobError {
        JobError::Cancelled(cancelled)
    }
}

impl TaskError for JobError {
    fn as_cancelled(&self) -> Option<&CancelledError> {
        match self {
            JobError::Cancelled(cancelled) => Some(cancelled),
            JobError::Terminate => None,
        }
    }
}

/// Used to force termination of a task group.
async fn force_terminate_task_group() -> Result<(), JobError> {
    Err(JobError::Terminate)
}

async fn job(task_id: u32, sleep_time: f64) -> Result<(), JobError> {
    println!("Task {task_id}: start");
    sleep(Duration::from_secs_f64(sleep_time)).await?;
    println!("Task {task_id}: done");
    Ok(())
}

fn main() -> Result<(), GroupError<JobError>> {
    ringio::run(async {
        let ended = TaskGroup::scope(async |group| {
            // spawn some tasks
            group.create_task(job(1, 0.5));
            group.create_task(job(2, 1.5));
            // sleep for 1 second
            sleep(Duration::from_secs(1)).await?;
            // add an exception-raising task to force the group to terminate
            group.create_task(force_terminate_task_group());
            Ok(())
        });
        match ended.await {
            Err(GroupError::Group(group)) => match group.split(|error| matches!(error, JobError::Terminate)).1 {
                Some(others) => Err(GroupError::Group(others)),
                None => Ok(()),
            },
            ended => ended,
        }
    })
}
