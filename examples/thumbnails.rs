//! Binary work on several cores: pictures go in, thumbnails come out, as they
//! are done.
//!
//! Needs a server: `GEARMAN_SERVERS=localhost:4730 cargo run --example thumbnails`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use gearshard::client::{Client, Job, JobError, ServerAddress, Worker};
use std::error::Error;

/// A grey picture: width u32 BE, height u32 BE, one byte a pixel.
fn picture(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let mut bytes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    bytes.extend((0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)));
    bytes
}

/// A quarter of the width and of the height, each pixel the mean of sixteen.
fn thumbnail(bytes: &[u8]) -> Result<Vec<u8>, JobError> {
    let number =
        |at: usize| bytes.get(at..at + 4).and_then(|number| number.try_into().ok()).map(u32::from_be_bytes);
    let (Some(width), Some(height)) = (number(0), number(4)) else {
        return Err(JobError::exception("a picture begins with its width and height"));
    };
    let pixels = &bytes[8..];
    if pixels.len() as u64 != u64::from(width) * u64::from(height) {
        return Err(JobError::exception(format!("{} pixels are not {width} by {height}", pixels.len())));
    }
    let mean = |x: u32, y: u32| {
        let rows = (4 * y..4 * y + 4).map(|row| row as usize * width as usize + 4 * x as usize);
        let sum: u32 = rows.flat_map(|at| &pixels[at..at + 4]).map(|&pixel| u32::from(pixel)).sum();
        (sum / 16) as u8
    };
    Ok(picture(width / 4, height / 4, mean))
}

/// Runs the example with these servers; the thumbnails in the order of the pictures.
pub fn run(servers: Vec<ServerAddress>) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let cores = std::thread::available_parallelism()?.get();
    let _worker = Worker::builder(servers.clone())
        .concurrency(cores)
        .function("thumbnail", |job| thumbnail(job.workload()))
        .start()?;

    let client = Client::builder(servers).build()?;
    // The same picture twice is work only once, whoever asks for it.
    let jobs = (0..20).map(|number| {
        let job = Job::new("thumbnail", picture(640, 480, move |x, y| (x + y + number) as u8));
        job.unique_by_workload()
    });
    let mut thumbnails = vec![Vec::new(); 20];
    for (number, result) in client.run_all(jobs, 2 * cores) {
        thumbnails[usize::try_from(number)?] = result?;
    }
    Ok(thumbnails)
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    for (number, thumbnail) in run(ServerAddress::from_environment()?)?.iter().enumerate() {
        println!("picture {number}: a thumbnail of {} bytes", thumbnail.len());
    }
    Ok(())
}
