"""What this machine is: CPUs, memory, disks, network and accelerators, and which of it may be used."""
