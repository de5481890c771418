//! Object storage that lives in memory and can be told to misbehave, and the processes that use it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tidegate_core::{Error, Result};
use tidegate_runtime::state::{
    Found, HeadStore, Listed, ObjectState, StateStore, Version, Written,
};
use tokio::sync::watch;

/// What all processes see.
#[derive(Debug, Default)]
pub struct Bucket {
    objects: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    versions: AtomicU64,
    pub writes: AtomicU64,
    /// How many bytes were written, in heads and parts.
    pub bytes: AtomicU64,
}

fn path(name: &str, part: &str) -> String {
    format!("{name}/{part}")
}

impl Bucket {
    /// The names of the parts beside a head.
    pub fn parts(&self, name: &str) -> Vec<String> {
        let (objects, directory) = (self.objects.lock().unwrap(), path(name, ""));
        let parts = objects
            .keys()
            .filter_map(|key| key.strip_prefix(&directory));
        parts.map(str::to_owned).collect()
    }

    /// The names of the parts that a head names.
    pub fn named(&self, name: &str) -> Vec<String> {
        let head: serde_json::Value = serde_json::from_slice(&self.get(name).unwrap()).unwrap();
        let lists = ["whole", "since"].map(|list| head[list].as_array().cloned());
        let lists = lists.into_iter().flatten().flatten();
        let parts = lists.chain(head.get("values_part").cloned());
        let mut names: Vec<String> = parts
            .map(|part| part["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    pub fn put_part(&self, name: &str, part: &str, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.put(&path(name, part), bytes);
    }

    pub fn delete_part(&self, name: &str, part: &str) {
        self.objects.lock().unwrap().remove(&path(name, part));
    }

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
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
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

type Between = Box<dyn FnMut(Moment) + Send>;

/// One process's way to the bucket.
pub struct Process {
    bucket: Arc<Bucket>,
    condition: watch::Sender<Condition>,
    faults: Option<Mutex<Faults>>,
    latency: Duration,
    /// What happens between two requests of this process, where a test wants it to.
    between: Mutex<Option<Between>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({:?})", self.condition)
    }
}

/// What a process is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    WritesHead,
    ReadsPart,
}

/// Answers that don't arrive, and writes that take place when nobody expects them any more.
#[derive(Debug)]
struct Faults {
    random: SmallRng,
    late: Vec<(String, Vec<u8>, Option<String>)>,
    late_parts: Vec<(String, String, Vec<u8>)>,
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
            late_parts: Vec::new(),
        };
        Self::with(bucket, Some(Mutex::new(faults)), Duration::ZERO)
    }

    fn with(bucket: &Arc<Bucket>, faults: Option<Mutex<Faults>>, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            bucket: Arc::clone(bucket),
            condition: watch::Sender::new(Condition::Running),
            faults,
            latency,
            between: Mutex::default(),
        })
    }

    /// From now on `between` happens before each such request.
    pub fn before_each(&self, between: impl FnMut(Moment) + Send + 'static) {
        *self.between.lock().unwrap() = Some(Box::new(between));
    }

    fn comes_to(&self, moment: Moment) {
        if let Some(between) = &mut *self.between.lock().unwrap() {
            between(moment);
        }
    }

    fn read_fault(&self) -> Result<()> {
        if let Some(faults) = &self.faults
            && faults.lock().unwrap().random.random_ratio(1, 12)
        {
            return Err(Error::transient("a read went wrong"));
        }
        Ok(())
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
        self.read_fault()?;
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
        self.comes_to(Moment::WritesHead);
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

    async fn heads(&self) -> Result<Vec<Listed>> {
        self.runs().await?;
        let objects = self.bucket.objects.lock().unwrap();
        let heads = objects.keys().filter(|key| !key.contains('/'));
        let listed = heads.map(|name| Listed {
            name: name.clone(),
            changed: None,
        });
        Ok(listed.collect())
    }

    async fn write_part(&self, name: &str, part: &str, bytes: Vec<u8>) -> Result<()> {
        self.runs().await?;
        let Some(faults) = &self.faults else {
            self.bucket.put_part(name, part, &bytes);
            return Ok(());
        };
        let mut faults = faults.lock().unwrap();
        if faults.random.random_ratio(1, 2) {
            for (name, part, bytes) in std::mem::take(&mut faults.late_parts) {
                self.bucket.put_part(&name, &part, &bytes);
            }
        }
        match faults.random.random_range(0..12) {
            0 => return Err(Error::transient("the part was not written")),
            1 => {
                let late = (name.to_owned(), part.to_owned(), bytes);
                faults.late_parts.push(late);
                return Err(Error::transient("the part is written later"));
            }
            _ => self.bucket.put_part(name, part, &bytes),
        }
        Ok(())
    }

    async fn read_part(&self, name: &str, part: &str) -> Result<Option<Vec<u8>>> {
        self.runs().await?;
        self.read_fault()?;
        self.comes_to(Moment::ReadsPart);
        Ok(self.bucket.get(&path(name, part)))
    }

    async fn parts(&self, name: &str) -> Result<Vec<String>> {
        self.runs().await?;
        self.read_fault()?;
        Ok(self.bucket.parts(name))
    }

    async fn delete_parts(&self, name: &str, parts: &[String]) -> Result<()> {
        self.runs().await?;
        self.read_fault()?;
        for part in parts {
            self.bucket.delete_part(name, part);
        }
        Ok(())
    }

    fn show(&self, name: &str) -> String {
        format!("bucket/{name}")
    }
}
