//! A group's children give their results to its body.

use ringio::{GroupError, StreamReader, TaskGroup, sleep};
use std::{io, time::Duration};

pub async fn sum(mut reader: StreamReader) -> Result<u64, GroupError<io::Error>> {
    TaskGroup::scope(async move |group| {
        let one = group.create_task(async {
            sleep(Duration::from_secs(1)).await?;
            Ok(1)
        });
        let length = group.create_task(async move {
            let data = reader.read(1).await?;
            Ok(data.len() as u64)
        });
        Ok(one.await? + length.await?)
    })
    .await
}
