//! Object storage that lives in memory and can be told to misbehave, and the processes that use it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tidegate_core::{Error, Result};
use tidegate_runtime::state::{Found, HeadStore, ObjectState, StateStore, Version, Written};
use tokio::sync::watch;

/// What all processes see.
#[derive(Debug, Default)]
pub struct Bucket {
    objects: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    versions: AtomicU64,
    pub writes: AtomicU64,
}

impl Bucket {
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let objects = self.objects.lock().unwrap();
        objects.get(name).map(|(bytes, _)| bytes.clone())
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        let mut objects = self.objects.lock().unwrap();
        objects.insert(name.to_owned(), (bytes.to_vec(), version));
    }

    fn swap(&self, name: &str, bytes: &[u8], expected: Option<&str>) -> Written {
        let mut objects = self.objects.lock().unwrap();
        let found = objects.get(name).map(|(_, version)| version.to_string());
        if found.as_deref() != expected {
            return Written::Lost;
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        objects.insert(name.to_owned(), (bytes.to_vec(), version));
        Written::Stored(Version(version.to_string()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Running,
    Stopped,
    Dead,
}

/// One process's way to the bucket.
#[derive(Debug)]
pub struct Process {
    bucket: Arc<Bucket>,
    condition: watch::Sender<Condition>,
    faults: Option<Mutex<Faults>>,
    latency: Duration,
}

/// Answers that don't arrive, and writes that take place when nobody expects them any more.
#[derive(Debug)]
struct Faults {
    random: SmallRng,
    late: Vec<(String, Vec<u8>, Option<String>)>,
}

impl Process {
    pub fn new(bucket: &Arc<Bucket>) -> Arc<Self> {
        Self::with(bucket, None, Duration::ZERO)
    }

    /// Every write takes this long.
    pub fn slow(bucket: &Arc<Bucket>, latency: Duration) -> Arc<Self> {
        Self::with(bucket, None, latency)
    }

    /// Every third write or so goes wrong in one of the ways in which a write can.
    pub fn faulty(bucket: &Arc<Bucket>, seed: u64) -> Arc<Self> {
        let faults = Faults {
            random: SmallRng::seed_from_u64(seed),
            late: Vec::new(),
        };
        Self::with(bucket, Some(Mutex::new(faults)), Duration::ZERO)
    }

    fn with(bucket: &Arc<Bucket>, faults: Option<Mutex<Faults>>, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            bucket: Arc::clone(bucket),
            condition: watch::Sender::new(Condition::Running),
            faults,
            latency,
        })
    }

    /// The state store as this process has it.
    pub fn store(self: &Arc<Self>, lease: Duration) -> Arc<dyn StateStore> {
        Arc::new(ObjectState::new(Arc::clone(self) as _, lease))
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        self.condition.send_replace(Condition::Stopped);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.condition.send_replace(Condition::Running);
    }

    /// SIGKILL: nothing that it does from here on reaches anyone.
    pub fn die(&self) {
        self.condition.send_replace(Condition::Dead);
    }

    async fn runs(&self) -> Result<()> {
        let mut condition = self.condition.subscribe();
        let waited = condition.wait_for(|now| *now != Condition::Stopped).await;
        match *waited.unwrap() {
            Condition::Dead => Err(Error::internal("this process is dead")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl HeadStore for Process {
    async fn read(&self, name: &str) -> Result<Option<Found>> {
        self.runs().await?;
        if let Some(faults) = &self.faults
            && faults.lock().unwrap().random.random_ratio(1, 12)
        {
            return Err(Error::transient("a read went wrong"));
        }
        let objects = self.bucket.objects.lock().unwrap();
        Ok(objects.get(name).map(|(bytes, version)| Found {
            bytes: bytes.clone(),
            version: Version(version.to_string()),
        }))
    }

    async fn write(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<&Version>,
    ) -> Result<Written> {
        self.runs().await?;
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let expected = expected.map(|version| version.0.as_str());
        let swap = || self.bucket.swap(name, &bytes, expected);
        let Some(faults) = &self.faults else {
            return Ok(swap());
        };
        let mut faults = faults.lock().unwrap();
        if faults.random.random_ratio(1, 2) {
            for (name, bytes, expected) in std::mem::take(&mut faults.late) {
                self.bucket.swap(&name, &bytes, expected.as_deref());
            }
        }
        match faults.random.random_range(0..12) {
            0 => Err(Error::transient("it did not take place")),
            1 => {
                swap();
                Err(Error::transient("it may have taken place"))
            }
            2 => {
                let expected = expected.map(str::to_owned);
                faults.late.push((name.to_owned(), bytes, expected));
                Err(Error::transient("it takes place later"))
            }
            // The client asked again by itself.
            3 => {
                swap();
                Ok(swap())
            }
            _ => Ok(swap()),
        }
    }

    fn show(&self, name: &str) -> String {
        format!("bucket/{name}")
    }
}
