/*
 * main.cpp - skua-peer-asio: Boost.Asio, one io_context that all threads run.
 *
 * A connection is moved from handler to handler, one at a time: no strand, no reference count.
 * Answers are written at once by write_some, which is a plain send on a non-blocking socket; what the
 * kernel has no room for by async_write. Executors are the io_context's own, not type-erased.
 */
#include <boost/asio.hpp>
#include <boost/version.hpp>

#include <memory>
#include <thread>
#include <vector>

#include "../net_http.h"
#include "../net_server.h"

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using executor = asio::io_context::executor_type;
using socket_type = asio::basic_stream_socket<tcp, executor>;
using acceptor_type = asio::basic_socket_acceptor<tcp, executor>;

static server_options options; // set before the first thread

// Writes what it can at once. False: the end.
static bool transmit(socket_type &socket, const char *bytes, std::size_t size, std::size_t &written)
{
	error_code error;

	written = socket.write_some(asio::buffer(bytes, size), error);
	return !error || error == asio::error::would_block;
}

// ---- http ----

struct http {
	explicit http(socket_type &&accepted) : socket(std::move(accepted))
	{
	}

	socket_type socket;
	http_state state = HTTP_READ;
	std::unique_ptr<http_buffers>
		buffers; // none only with --lean, while it waits for a request
};

using http_ptr = std::unique_ptr<http>;

static void read(http_ptr self);

// Writes answers until there are none or no room. A connection that is not moved on ends.
static void go_on(http_ptr self, http_buffers *buffers)
{
	while (buffers->sent < buffers->unsent) {
		const std::size_t size = buffers->unsent - buffers->sent;
		std::size_t n;

		if (!transmit(self->socket, buffers->out + buffers->sent, size, n))
			return;
		buffers->sent += static_cast<uint32_t>(n);
		if (n < size)
			break;
		buffers->sent = buffers->unsent = 0;
		if (self->state == HTTP_ROOM)
			self->state = http_answer(buffers, options.spin);
	}
	if (self->state == HTTP_CLOSE && buffers->sent == buffers->unsent)
		return;
	if (!self->buffers && !http_is_empty(buffers)) {
		self->buffers.reset(new http_buffers);
		http_copy(self->buffers.get(), buffers);
		buffers = self->buffers.get();
	}
	if (buffers->sent < buffers->unsent) {
		socket_type &socket = self->socket;
		const auto rest =
			asio::buffer(buffers->out + buffers->sent, buffers->unsent - buffers->sent);

		asio::async_write(socket, rest,
				  [self = std::move(self)](error_code error, std::size_t) mutable {
					  http_buffers *written = self->buffers.get();

					  if (error)
						  return;
					  written->sent = written->unsent = 0;
					  if (self->state == HTTP_ROOM)
						  self->state = http_answer(written, options.spin);
					  go_on(std::move(self), written);
				  });
		return;
	}
	if (options.lean && self->buffers && http_is_empty(self->buffers.get()))
		self->buffers.reset();
	read(std::move(self));
}

// Waits without a buffer, then reads onto the stack.
static void read_lean(http_ptr self)
{
	socket_type &socket = self->socket;

	socket.async_wait(tcp::socket::wait_read,
			  [self = std::move(self)](error_code error) mutable {
				  http_buffers stack;
				  std::size_t n;

				  if (error)
					  return;
				  http_init(&stack);
				  n = self->socket.read_some(asio::buffer(stack.in), error);
				  if (error == asio::error::would_block)
					  return read_lean(std::move(self));
				  if (error)
					  return;
				  stack.used = static_cast<uint32_t>(n);
				  self->state = http_answer(&stack, options.spin);
				  go_on(std::move(self), &stack);
			  });
}

static void read(http_ptr self)
{
	socket_type &socket = self->socket;
	http_buffers *buffers = self->buffers.get();

	if (buffers == nullptr)
		return read_lean(std::move(self));
	socket.async_read_some(
		asio::buffer(buffers->in + buffers->used, sizeof buffers->in - buffers->used),
		[self = std::move(self), buffers](error_code error, std::size_t n) mutable {
			if (error)
				return;
			buffers->used += static_cast<uint32_t>(n);
			self->state = http_answer(buffers, options.spin);
			go_on(std::move(self), buffers);
		});
}

static void serve_http(socket_type &&socket)
{
	auto self = std::make_unique<http>(std::move(socket));

	if (!options.lean) {
		self->buffers.reset(new http_buffers); // not make_unique: that would clear them
		http_init(self->buffers.get());
	}
	read(std::move(self));
}

// ---- echo ----

struct echo {
	explicit echo(socket_type &&accepted) : socket(std::move(accepted))
	{
	}

	socket_type socket;
	char bytes[ECHO_BUFFER];
};

using echo_ptr = std::unique_ptr<echo>;

static void read(echo_ptr self);

static void write(echo_ptr self, std::size_t size)
{
	socket_type &socket = self->socket;
	const char *bytes = self->bytes;
	std::size_t n;

	if (!transmit(socket, bytes, size, n))
		return;
	if (n == size)
		return read(std::move(self));
	asio::async_write(socket, asio::buffer(bytes + n, size - n),
			  [self = std::move(self)](error_code error, std::size_t) mutable {
				  if (!error)
					  read(std::move(self));
			  });
}

static void read(echo_ptr self)
{
	socket_type &socket = self->socket;
	char *bytes = self->bytes;

	socket.async_read_some(asio::buffer(bytes, ECHO_BUFFER),
			       [self = std::move(self)](error_code error, std::size_t n) mutable {
				       if (!error)
					       write(std::move(self), n);
			       });
}

// ---- Accepting ----

static void serve(socket_type &&socket)
{
	error_code error;

	socket.non_blocking(true, error); // or asio would do it at the first read
	if (error)
		return;
	if (options.echo)
		read(echo_ptr(new echo(std::move(socket))));
	else
		serve_http(std::move(socket));
}

static void accept(acceptor_type &acceptor)
{
	acceptor.async_accept([&acceptor](error_code error, socket_type socket) {
		if (!error)
			serve(std::move(socket));
		else
			usleep(1000); // out of descriptors, most likely: no spinning
		accept(acceptor);
	});
}

int main(int argc, char **argv)
{
	char version[32];

	if (argc < 2 || strcmp(argv[1], "net") != 0)
		server_usage();
	snprintf(version, sizeof version, "%d.%d.%d", BOOST_VERSION / 100000,
		 BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100);
	options = server_read_options(argc - 1, argv + 1, "asio", version);
	if (options.workers == 0)
		options.workers = static_cast<int>(std::thread::hardware_concurrency());
	server_prepare();

	asio::io_context context(options.workers);
	acceptor_type acceptor(context);
	acceptor.open(tcp::v4());
	acceptor.set_option(tcp::acceptor::reuse_address(true));
	acceptor.set_option(tcp::no_delay(true)); // accepted sockets inherit it
	acceptor.bind({asio::ip::address_v4::loopback(), static_cast<uint16_t>(options.port)});
	acceptor.listen(SERVER_BACKLOG);
	server_say_port(acceptor.local_endpoint().port());
	accept(acceptor);

	std::vector<std::thread> threads;
	for (int i = 0; i < options.workers; i++)
		threads.emplace_back([&context] { context.run(); });
	server_wait_for_end(nullptr);
}
