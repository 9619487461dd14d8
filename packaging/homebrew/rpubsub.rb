# A formula for Homebrew that builds the checkout in which it stands:
#   brew install --HEAD ./packaging/homebrew/rpubsub.rb
class Rpubsub < Formula
  desc "MQTT on the command line: rpub, rsub, rrr and the broker rbroker"
  homepage "https://mqtt.org"
  license any_of: ["MIT", "Apache-2.0"]
  head "file://#{File.expand_path("../..", __dir__)}", using: :git, branch: "main"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args(path: "crates/mqtt-cli")
    %w[rpub rsub rrr rbroker].each do |name|
      (man1/"#{name}.1").write Utils.safe_popen_read(bin/name, "man")
      generate_completions_from_executable(bin/name, "completions", shells: [:bash, :zsh, :fish])
    end
    %w[passwd status].each do |name|
      (man1/"rbroker-#{name}.1").write Utils.safe_popen_read(bin/"rbroker", "man", name)
    end
    (man5/"rbroker.conf.5").write Utils.safe_popen_read(bin/"rbroker", "man", "conf")
  end

  # Without a configuration the broker admits only programs on this machine.
  service do
    run [opt_bin/"rbroker"]
    keep_alive crashed: true
    working_dir var
  end

  test do
    port = free_port
    broker = spawn bin/"rbroker", "-p", port.to_s, "-q"
    sleep 2
    system bin/"rpub", "-p", port.to_s, "-t", "t", "-m", "hello", "-r", "-q", "1"
    assert_equal "hello\n", shell_output("#{bin}/rsub -p #{port} -t t -C 1")
  ensure
    Process.kill "TERM", broker
  end
end
