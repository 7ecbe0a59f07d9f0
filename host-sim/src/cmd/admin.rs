//! `--admin`, for whatever runs for long.

use std::net::SocketAddr;
use std::sync::Arc;

use peerdist_sim::net::admin::{Admin, Administered, DEFAULT_ADDRESS};

use super::Failure;

/// Where a server tells how it does.
#[derive(clap::Args)]
pub struct AdminArgs {
    /// Where to tell how it does, for `peerdist status` and for Prometheus
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = DEFAULT_ADDRESS)]
    admin: Option<SocketAddr>,

    /// Let --admin be reached from other machines
    #[arg(long, requires = "admin")]
    admin_remote: bool,

    /// A name by which --admin is called; not needed for addresses, nor for `localhost`
    #[arg(long, value_name = "NAME", requires = "admin")]
    admin_name: Vec<String>,
}

impl AdminArgs {
    /// Takes the port, if one is wanted: before anything is begun, since it may be taken.
    pub fn bind(&self) -> Result<Option<Admin>, Failure> {
        let bound = self.admin.map(|address| {
            Admin::bind(address, self.admin_remote)
                .map(|admin| admin.with_names(self.admin_name.clone()))
                .map_err(|error| Failure(format!("--admin {address}: {error}")))
        });
        bound.transpose()
    }
}

/// Begins to answer for `server`, and returns the line that says where.
pub fn start(admin: Admin, server: Arc<dyn Administered>) -> Result<String, Failure> {
    let started = admin.local_addr().and_then(|address| {
        admin.start(server)?;
        Ok(format!("admin on http://{address}/\n"))
    });
    started.map_err(|error| Failure(format!("--admin: {error}")))
}
