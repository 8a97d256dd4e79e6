//! `wasi:sockets`: creating a socket and resolving a name, the two ways to the network. Neither can be granted
//! yet; both answer `access-denied`, which a guest can handle.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::{
    ip_name_lookup, network, tcp_create_socket, udp_create_socket,
};
use wasmtime_wasi::p2::{DynPollable, Network, SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView;

use super::Ours;
use crate::gate::Access;
use crate::host::HostState;

/// Defines the ways to the network.
pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    tcp_create_socket::add_to_linker::<_, Ours>(linker, |state| state)?;
    udp_create_socket::add_to_linker::<_, Ours>(linker, |state| state)?;
    ip_name_lookup::add_to_linker::<_, Ours>(linker, |state| state)
}

type Addresses = ip_name_lookup::ResolveAddressStream;

impl HostState {
    fn allow_network(&mut self, what: &str) -> SocketResult<()> {
        if self.may(Access::Network { what }) {
            Ok(())
        } else {
            Err(ErrorCode::AccessDenied.into())
        }
    }
}

impl network::Host for HostState {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for HostState {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}

impl tcp_create_socket::Host for HostState {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.allow_network("tcp")?;
        tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)
    }
}

impl udp_create_socket::Host for HostState {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        self.allow_network("udp")?;
        udp_create_socket::Host::create_udp_socket(&mut self.sockets(), family).await
    }
}

impl ip_name_lookup::Host for HostState {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<Addresses>, SocketError> {
        self.allow_network(&name)?;
        ip_name_lookup::Host::resolve_addresses(&mut self.sockets(), network, name)
    }
}

impl ip_name_lookup::HostResolveAddressStream for HostState {
    fn resolve_next_address(
        &mut self,
        stream: Resource<Addresses>,
    ) -> Result<Option<IpAddress>, SocketError> {
        ip_name_lookup::HostResolveAddressStream::resolve_next_address(&mut self.sockets(), stream)
    }

    fn subscribe(
        &mut self,
        stream: Resource<Addresses>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<Addresses>) -> wasmtime::Result<()> {
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}
