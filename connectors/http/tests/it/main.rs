//! The server between real clients and a program that takes what is committed.

#![allow(clippy::unwrap_used)]

mod acks;
mod answers;
mod attacks;
mod routes;
mod site;
mod tls;
