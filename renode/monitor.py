"""What Renode's monitor learns of goldgrad's firmware: to run until it stops, and to count instructions by region.

Renode reads this with an interpreter of its own (IronPython 2.7) and makes a command ``name`` of every ``mc_name``.

The hooks run in the CPU's thread, between two instructions, and at a stop the thread stays in one until it is told to
go on: so counts are exact there, nothing has to be paused, and a run has no race with the next command.
"""
# ruff: noqa: F821, UP, D103

import clr
import System

clr.AddReference("System.Net.Sockets")
from Antmicro.Renode.Core import EmulationManager
from Antmicro.Renode.Logging import Logger, LogLevel
from Antmicro.Renode.Peripherals.CPU import ExternalMmuPosition, ExternalMmuResult, HaltReason
from Antmicro.Renode.Peripherals.Miscellaneous import ExternalMmuBase
from System.Net.Sockets import TcpClient
from System.Threading import AutoResetEvent

FIRMWARE = -2
LR, R0 = 14, 0
POLL_MS = 20
"""How often the budget is looked at."""

READ, WRITE, EXECUTE = 1, 2, 4
RIGHTS = (
    (0x00200000, 0x00300000, READ | EXECUTE),  # flash
    (0x20000000, 0x20050000, READ | WRITE),  # DTCM, SRAM1, SRAM2
    (0x40000000, 0x40080000, READ | WRITE),  # peripherals
    (0xE000E000, 0xE000F000, READ | WRITE),  # system control space
)
"""What may be touched, as in firmware/mpu.c: Renode's MPU lets privileged code have everything between its regions."""


class Watch(object):
    """Follows one run of the firmware after the other."""

    def __init__(self, machine, mark_instructions):
        bus = machine["sysbus"]
        self.bus, self.cpu = bus, machine["sysbus.cpu"]
        self.region, self.counts, self.base = FIRMWARE, {}, 0
        self.mark_instructions = mark_instructions
        self.stop, self.stopped, self.go = None, AutoResetEvent(False), AutoResetEvent(False)
        self.is_held = self.is_pausing = self.is_dead = False
        self.text = []
        self.cpu.AddHook(bus.GetSymbolAddress("gg_mark"), self.on_mark)
        self.cpu.AddHook(bus.GetSymbolAddress("gg_board_wait"), lambda cpu, pc: self.hold("WAIT"))
        self.cpu.AddHook(bus.GetSymbolAddress("gg_board_halt"), lambda cpu, pc: self.hold("HALT"))
        self.cpu.Halted += self.on_halted
        self.faulted = None
        self.cpu.EnableExternalWindowMmu(ExternalMmuPosition.BeforeInternal)
        for start, end, rights in RIGHTS:
            window = self.cpu.AcquireExternalMmuWindow(privilege(READ | WRITE | EXECUTE))
            self.cpu.SetMmuWindowStart(window, start)
            self.cpu.SetMmuWindowEnd(window, end)
            self.cpu.SetMmuWindowAddend(window, 0)
            self.cpu.SetMmuWindowPrivileges(window, privilege(rights))
        self.cpu.AddHookOnMmuFault(self.on_fault)
        machine["sysbus.usart3"].CharReceived += lambda byte: self.text.append(chr(byte))

    def on_mark(self, cpu, pc):
        """Close a region and begin the next behind gg_mark, which counts for none."""
        self.close_region()
        self.base += self.mark_instructions
        region = int(cpu.GetRegister(R0).RawValue)
        self.region = region - (1 << 32) if region >> 31 else region

    def close_region(self):
        executed = int(self.cpu.ExecutedInstructions)
        self.counts[self.region] = self.counts.get(self.region, 0) + max(0, executed - self.base)
        self.base = max(executed, self.base)

    def on_fault(self, address, access, window, is_first):
        """Stop for good where an access breaks RIGHTS.

        Only when the access is tried again, behind the first full report of it, has the CPU the PC of its instruction.
        """
        if is_first:
            return ExternalMmuResult.Fault
        if self.faulted == address:
            what = "%s at 0x%08X by 0x%08X" % (access, address, self.cpu.PC.RawValue)
            Logger.LogAs(self.cpu, LogLevel.Error, "goldgrad: " + what)
            while True:
                self.hold("FAULT")
        self.faulted = address
        return ExternalMmuResult.NoFault

    def hold(self, stop):
        """Keep the CPU before the instruction that it has come to."""
        if self.is_pausing:
            return
        self.stop, self.is_held = stop, True
        self.stopped.Set()
        self.go.WaitOne()

    def on_halted(self, arguments):
        if arguments.Reason == HaltReason.Abort:
            self.is_dead, self.stop = True, "FAULT"
            self.stopped.Set()

    def run(self, seconds, budget):
        """Go on to the next stop: WAIT, HALT, FAULT, TIME or BUDGET."""
        emulation = EmulationManager.Instance.CurrentEmulation
        start, end = int(self.cpu.ExecutedInstructions), System.DateTime.UtcNow.AddSeconds(seconds)
        self.stop = "FAULT" if self.is_dead else None
        self.stopped.Reset()
        if self.is_held:
            self.is_held = False
            self.go.Set()
        else:
            emulation.StartAll()
        while self.stop is None:
            if self.stopped.WaitOne(POLL_MS):
                continue
            if int(self.cpu.ExecutedInstructions) - start > budget:
                self.stop = "BUDGET"
            elif System.DateTime.UtcNow > end:
                self.stop = "TIME"
        if self.stop in ("BUDGET", "TIME"):
            self.is_pausing = True
            emulation.PauseAll()
            self.is_pausing = False
        self.close_region()
        Logger.Flush()
        return self.stop

    def take(self):
        """Give the counts by region since they were last taken."""
        counts, self.counts = self.counts, {}
        return sorted((region, count) for region, count in counts.items() if count)


watch = None


def mc_gg_watch(mark_instructions):
    global watch
    watch = Watch(self.Machine, int(mark_instructions))


def mc_gg_run(seconds, budget):
    print(watch.run(float(seconds), int(budget)))


def mc_gg_counts():
    print(" ".join("%d:%d" % pair for pair in watch.take()))


def mc_gg_serve(port):
    """Obey the program that listens on ``port`` of this machine, until it goes."""
    stream = TcpClient("127.0.0.1", int(port)).GetStream()
    while True:
        words = read_line(stream).split()
        if not words:
            return
        command, numbers = words[0], words[1:]
        if command == "run":
            stop = watch.run(float(numbers[0]), int(numbers[1]))
            pc, lr = int(watch.cpu.PC.RawValue), int(watch.cpu.GetRegister(LR).RawValue)
            counts = " ".join("%d:%d" % pair for pair in watch.take())
            send(stream, "%s %d %d %d %s\n" % (stop, watch.region, pc, lr, counts))
        elif command == "read":
            data = watch.bus.ReadBytes(int(numbers[0]), int(numbers[1]))
            stream.Write(data, 0, data.Length)
        elif command == "write":
            watch.bus.WriteBytes(read_exactly(stream, int(numbers[1])), int(numbers[0]))
            send(stream, "ok\n")
        elif command == "text":
            send(stream, " ".join("%d" % ord(c) for c in watch.text) + "\n")


def privilege(rights):
    return System.Enum.ToObject(clr.GetClrType(ExternalMmuBase.Privilege), rights)


def send(stream, text):
    data = System.Text.Encoding.ASCII.GetBytes(text)
    stream.Write(data, 0, data.Length)


def read_line(stream):
    found = []
    while True:
        byte = stream.ReadByte()
        if byte < 0 or byte == 10:
            return "".join(found)
        found.append(chr(byte))


def read_exactly(stream, count):
    data, at = System.Array.CreateInstance(System.Byte, count), 0
    while at < count:
        at += stream.Read(data, at, count - at)
    return data
