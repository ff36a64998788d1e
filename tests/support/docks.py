"""What is done in the dock Repair section by several tests."""


def paint(dock, spots=((35, 40), (90, 100)), z=3):
    from qtpy.QtTest import QTest

    if dock.session.mask_layer is None:
        while not dock.session.flags.is_settled(dock.session.image):
            QTest.qWait(5)
        dock.mask_panel.new_mask()
    layer = dock.session.mask_layer
    layer.brush_size = 14
    for y, x in spots:
        layer.paint((z, y, x), 1)
    return layer


def repair(dock, wait):
    dock.repair_panel.repair()
    wait(lambda: not dock.jobs.is_running("repair") and not dock.repair_panel.is_showing)
