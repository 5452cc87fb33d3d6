"""What Renode's monitor learns of goldgrad's firmware: to run until it stops, and to count instructions by region.

Renode reads this with an interpreter of its own (IronPython 2.7) and makes a command ``name`` of every ``mc_name``.

The hooks run in the CPU's thread, and at a stop the thread stays in one until it is told to go on: so nothing has to be
paused, and no run races with the command after it.  Marks are seen by a watchpoint, since a hook on gg_mark itself
makes Renode translate the code around it again, every time.
"""
# ruff: noqa: E402, F821, PLW0108, PLW0603, UP004, UP031  (Python 2, and names that Renode defines)

import clr
import System

clr.AddReference("System.Net.Sockets")
from Antmicro.Renode.Core import EmulationManager
from Antmicro.Renode.Logging import Logger, LogLevel
from Antmicro.Renode.Peripherals.Bus import Access, SysbusAccessWidth
from Antmicro.Renode.Peripherals.CPU import ExternalMmuPosition, ExternalMmuResult, HaltReason, RegisterValue
from Antmicro.Renode.Peripherals.Miscellaneous import ExternalMmuBase
from System.IO import BinaryWriter, FileAccess, FileMode, FileShare, FileStream
from System.Net.Sockets import TcpClient
from System.Threading import AutoResetEvent

FIRMWARE = -2
MARK = System.UInt64.MaxValue
"""Stands for a region among the addresses of blocks."""
SP, LR, PC, XPSR, THUMB = 13, 14, 15, 25, 1 << 24
REGION = 28
"""Where the mailbox keeps it; gg_mark writes it there (firmware/observe.c)."""
STORE, BEFORE_STORE = 8, 2
"""Bytes and instructions of gg_mark before it does."""
POLL_MS = 20
"""How often budget and time are looked at."""

READ, WRITE, EXECUTE = 1, 2, 4
RIGHTS = (
    (0x00200000, 0x00300000, READ | EXECUTE),  # flash
    (0x20000000, 0x20050000, READ | WRITE),  # DTCM, SRAM1, SRAM2
    (0x40000000, 0x40080000, READ | WRITE),  # peripherals
    (0xE000E000, 0xE000F000, READ | WRITE),  # system control space
)
"""What may be touched, as in firmware/mpu.c: Renode's MPU lets privileged code have everything between its regions."""
CODE_IN_ITCM = 0x00000800, 0x00004000
"""Besides: written until the firmware turns its MPU on, then read and executed."""


class Machine(object):
    """Runs from one stop to the next."""

    def __init__(self, machine):
        """Set no stops yet."""
        self.bus, self.cpu = machine["sysbus"], machine["sysbus.cpu"]
        self.stop, self.stopped, self.go = None, AutoResetEvent(False), AutoResetEvent(False)
        self.is_held = self.is_pausing = self.is_dead = False
        self.faulted, self.address = None, 0
        self.cpu.Halted += self.on_halted
        self.cpu.EnableExternalWindowMmu(ExternalMmuPosition.BeforeInternal)
        self.cpu.AddHookOnMmuFault(self.on_fault)

    def stop_at(self, address, stop):
        """Stop before the instruction at an address."""
        self.cpu.AddHook(address, lambda cpu, pc: self.hold(stop))

    def allow(self, start, end, rights):
        """What may be touched, by the window that this gives: the rest may not."""
        window = self.cpu.AcquireExternalMmuWindow(privilege(READ | WRITE | EXECUTE))
        self.cpu.SetMmuWindowStart(window, start)
        self.cpu.SetMmuWindowEnd(window, end)
        self.cpu.SetMmuWindowAddend(window, 0)
        self.cpu.SetMmuWindowPrivileges(window, privilege(rights))
        return window

    def on_fault(self, address, access, window, is_first):
        """Stop where an access is not allowed.

        Only when the access is tried again, after it was reported in full, does the CPU have the PC of its instruction.
        """
        if is_first:
            return ExternalMmuResult.Fault
        if self.faulted == address:
            self.address = address
            what = "goldgrad: %s at 0x%08X by 0x%08X" % (access, address, self.cpu.PC.RawValue)
            Logger.LogAs(self.cpu, LogLevel.Error, what)
            self.hold("FAULT")
        self.faulted = address
        return ExternalMmuResult.NoFault

    def on_halted(self, arguments):
        """Renode gave up; its log says why."""
        if arguments.Reason == HaltReason.Abort:
            self.is_dead, self.stop = True, "FAULT"
            self.stopped.Set()

    def hold(self, stop):
        """Keep the CPU before the instruction that it has come to."""
        if self.is_pausing:
            return
        self.stop, self.is_held = stop, True
        self.stopped.Set()
        self.go.WaitOne()

    def run(self, seconds, budget):
        """Go on until the next stop: a name of its own, or FAULT, TIME or BUDGET."""
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
        self.count()
        Logger.Flush()
        return self.stop

    def release(self):
        """Hold the CPU no more, so that Renode can stop it."""
        self.is_pausing = True
        self.go.Set()

    def count(self):
        """Count nothing."""


class Calls(Machine):
    """Functions that are called one by one (renode/calls/server.c): stops at the server's wait alone."""

    region = 0

    def reset(self, pointer, pc):
        """Begin anew somewhere, wherever the CPU is: held in a fault, running without an end, or not begun."""
        if self.is_held:
            self.is_held, self.is_pausing = False, True
            self.go.Set()
            EmulationManager.Instance.CurrentEmulation.PauseAll()
            self.is_pausing = False
        self.faulted = None
        for register, value in ((SP, pointer), (PC, pc), (XPSR, THUMB)):
            self.cpu.SetRegister(register, RegisterValue.Create(value, 32))

    def take(self):
        """Give the address that the last fault was about."""
        return self.address


class Watch(Machine):
    """Follows the firmware from one stop to the next."""

    def __init__(self, machine, mark_instructions):
        """Set the hooks; ``mark_instructions`` are those of gg_mark, which count for no region."""
        Machine.__init__(self, machine)
        self.mark_instructions = mark_instructions
        self.region, self.counts, self.counted = FIRMWARE, {}, 0
        self.text = []
        self.told = self.blocks = None
        self.mark, self.pending = self.bus.GetSymbolAddress("gg_mark"), None
        region = self.bus.GetSymbolAddress("gg_mailbox") + REGION
        self.bus.AddWatchpointHook(region, SysbusAccessWidth.DoubleWord, Access.Write, self.on_store)
        self.cpu.TimeHandle.ReportedBack += self.on_report
        self.stop_at(self.bus.GetSymbolAddress("gg_board_wait"), "WAIT")
        self.stop_at(self.bus.GetSymbolAddress("gg_board_halt"), "HALT")
        for start, end, rights in RIGHTS:
            self.allow(start, end, rights)
        self.code = self.allow(CODE_IN_ITCM[0], CODE_IN_ITCM[1], READ | WRITE | EXECUTE)
        self.cpu.AddHook(self.bus.GetSymbolAddress("gg_mpu_on"), lambda cpu, pc: self.on_mpu())
        machine["sysbus.usart3"].CharReceived += lambda byte: self.text.append(byte)

    def on_mpu(self):
        """Code has been copied: nobody writes it any more."""
        self.cpu.SetMmuWindowPrivileges(self.code, privilege(READ | EXECUTE))

    def on_store(self, cpu, address, width, value):
        """See a store to the mailbox's region, and wait for the CPU to give the block up in which it is."""
        if cpu.PC.RawValue == self.mark + STORE:
            self.pending = int(value)

    def on_report(self):
        """Begin a region behind gg_mark, which stands before its store: here, between two blocks, counts are exact."""
        if self.pending is not None:
            self.count(BEFORE_STORE)
            self.counted += self.mark_instructions
            self.region = self.pending - (1 << 32) if self.pending >> 31 else self.pending
            self.pending = None
            if self.blocks:
                self.blocks.Write(MARK)
                self.blocks.Write(System.Int32(self.region))
            if self.told:
                self.tell()

    def note_blocks(self, file):
        """Write every block that is begun into a file: its address and instructions, and regions between (TIM-S5)."""
        self.blocks = BinaryWriter(file)
        address, count = self.blocks.Write, self.blocks.Write
        self.cpu.SetHookAtBlockBegin(lambda pc, size: (address(pc), count(size)))

    def tell(self):
        """Write the region into a file, which stays when Renode is no more."""
        self.told.Position = 0
        self.told.Write(System.BitConverter.GetBytes(System.Int32(self.region)), 0, 4)
        self.told.Flush()

    def count(self, less=0):
        """Give the region what was executed since the last time; nothing inside gg_mark, which is paid for already."""
        executed = int(self.cpu.ExecutedInstructions) - less
        self.counts[self.region] = self.counts.get(self.region, 0) + max(0, executed - self.counted)
        self.counted = max(executed, self.counted)

    def take(self):
        """Give the counts since they were last taken, as region:count."""
        counts, self.counts = self.counts, {}
        return ",".join("%d:%d" % pair for pair in sorted(counts.items()) if pair[1])


watch = None


def mc_gg_watch(mark_instructions):
    """Begin, at reset."""
    global watch
    watch = Watch(self.Machine, int(mark_instructions))


def mc_gg_calls(wait):
    """Begin, with a server of calls that waits at an address."""
    global watch
    watch = Calls(self.Machine)
    watch.stop_at(int(wait), "WAIT")


def mc_gg_run(seconds, budget):
    """Run, and print why it ended."""
    print(watch.run(float(seconds), int(budget)))


def mc_gg_counts():
    """Print instructions by region since the last time."""
    print(watch.take())


def mc_gg_release():
    """End; to be called before the machine is reset or left."""
    if watch:
        watch.release()


def mc_gg_serve(port):
    """Obey the program that listens on ``port`` of this machine, until it goes (goldgrad/board/emulators/renode.py)."""
    stream = TcpClient("127.0.0.1", int(port)).GetStream()
    while True:
        words = read_line(stream).split()
        if not words:
            return
        command, numbers = words[0], words[1:]
        if command == "run":
            stop = watch.run(float(numbers[0]), int(numbers[1]))
            pc, lr = watch.cpu.PC.RawValue, watch.cpu.GetRegister(LR).RawValue
            send(stream, "%s %d %d %d %s\n" % (stop, watch.region, pc, lr, watch.take()))
        elif command == "read":
            data = watch.bus.ReadBytes(int(numbers[0]), int(numbers[1]))
            stream.Write(data, 0, data.Length)
        elif command == "write":
            watch.bus.WriteBytes(read_exactly(stream, int(numbers[1])), int(numbers[0]))
            send(stream, "\n")
        elif command == "rights":
            watch.allow(*map(int, numbers))
            send(stream, "\n")
        elif command == "reset":
            watch.reset(*map(int, numbers))
            send(stream, "\n")
        elif command == "tell":
            file = System.Text.Encoding.UTF8.GetString(read_exactly(stream, int(numbers[0])))
            watch.told = FileStream(file, FileMode.Create, FileAccess.Write, FileShare.ReadWrite)
            watch.tell()
            send(stream, "\n")
        elif command == "blocks":
            file = System.Text.Encoding.UTF8.GetString(read_exactly(stream, int(numbers[0])))
            watch.note_blocks(FileStream(file, FileMode.Create, FileAccess.Write, FileShare.ReadWrite, 1 << 20))
            send(stream, "\n")
        elif command == "flush":
            watch.blocks.Flush()
            send(stream, "\n")
        elif command == "text":
            send(stream, " ".join(str(byte) for byte in watch.text) + "\n")


def privilege(rights):
    """Rights as Renode has them."""
    return System.Enum.ToObject(clr.GetClrType(ExternalMmuBase.Privilege), rights)


def send(stream, text):
    """Write a line."""
    data = System.Text.Encoding.ASCII.GetBytes(text)
    stream.Write(data, 0, data.Length)


def read_line(stream):
    """Read one, without its end; nothing at the end of the stream."""
    found = []
    while True:
        byte = stream.ReadByte()
        if byte < 0 or byte == 10:
            return "".join(found)
        found.append(chr(byte))


def read_exactly(stream, count):
    """Read ``count`` bytes."""
    data, at = System.Array.CreateInstance(System.Byte, count), 0
    while at < count:
        at += stream.Read(data, at, count - at)
    return data
